import {
  addInclude,
  becomeWorker,
  setChildOption,
  setConcurrency,
  setQueues,
} from '../../celery/edit-worker-line.ts';
import { readWorkerLine, type WorkerLine } from '../../celery/worker-line.ts';
import type { DeployWorkerDesired } from '../../config/deploy-worker-desired.ts';
import { KiB } from '../../model/units.ts';
import { splitWords } from '../../systemd/exec-line.ts';
import type { UnitFile } from '../../systemd/unit-file.ts';
import { killsCeleryByName, type UnitContext } from '../../systemd/unit-rules.ts';
import { stackUnit, type UnitStack } from '../../systemd/unit-stack.ts';
import { addReadWritePaths, sharesTmp, writablePaths } from './hardening.ts';
import { addPythonPath, extendEnv, setByEnv } from './python-path.ts';
import { listSettings, neighbours, type Setting } from './unit-settings.ts';
import { readLine, type UnitSource } from './unit-source.ts';

export interface Edit {
  readonly after: UnitFile;
  readonly line: WorkerLine;
  readonly settings: readonly Setting[];
  readonly sharedTmp: boolean;
}

export function editUnit(
  before: UnitStack,
  source: UnitSource,
  desired: DeployWorkerDesired,
  context: UnitContext,
): Edit {
  readLine(before, source.path);
  // Drop-ins count, too: for Type=, and for whether /tmp is shared.
  const whole = stackUnit([source, ...source.dropIns]).file;
  const settings = listSettings(whole, desired, context.swapActive);
  const sharedTmp = sharesTmp(whole, desired);
  let after = editExecStart(before.file, source.path, desired, whole);
  after = removeKillers(after);
  after = orderAfterRedis(after);
  for (const setting of settings) after = applySetting(after, setting);
  after = addPythonPath(after, desired.supportDirectory);
  const line = readWorkerLine(after, source.path);
  if (desired.hardening === 'standard') {
    const paths = writablePaths(line, source, sharedTmp, desired);
    after = addReadWritePaths(after, paths);
  }
  return { after, line, settings, sharedTmp };
}

function applySetting(file: UnitFile, setting: Setting): UnitFile {
  const { section, key, value } = setting;
  let edited = file;
  if (!setting.accepts(file.value(section, key))) {
    edited =
      value === null
        ? edited.remove(section, key)
        : edited.set(section, key, value, neighbours[key] ?? null);
  }
  for (const [otherSection, other] of setting.others) edited = edited.remove(otherSection, other);
  return key === 'TimeoutStopSec' ? splitTimeout(edited) : edited;
}

/** `TimeoutSec=` sets both time-outs; the one that is not ours is kept under its own name. */
function splitTimeout(file: UnitFile): UnitFile {
  const both = file.value('Service', 'TimeoutSec');
  const without = file.remove('Service', 'TimeoutSec');
  return both === null || without.value('Service', 'TimeoutStartSec') !== null
    ? without
    : without.set('Service', 'TimeoutStartSec', both);
}

function editExecStart(
  file: UnitFile,
  path: string,
  desired: DeployWorkerDesired,
  whole: UnitFile,
): UnitFile {
  const { concurrency, maxMemoryPerChildBytes, maxTasksPerChild, prefetchMultiplier } = desired;
  const { queues, supportModule } = desired;
  let edited = file;
  let line = readWorkerLine(edited, path);
  const edit = (change: (line: WorkerLine) => Parameters<UnitFile['splice']>[1]): void => {
    const splices = change(line);
    if (splices.length === 0) return;
    edited = edited.splice(line.entry, splices);
    line = readWorkerLine(edited, path);
  };
  // A solo pool has no children, whatever its concurrency is.
  if (concurrency !== null) {
    edit((line) => (line.call.pool === 'solo' ? [] : setConcurrency(line, concurrency)));
  }
  if (maxMemoryPerChildBytes !== null) {
    edit((line) => setChildOption(line, 'maxMemory', Math.floor(maxMemoryPerChildBytes / KiB)));
  }
  if (maxTasksPerChild !== null) {
    edit((line) => setChildOption(line, 'maxTasks', maxTasksPerChild));
  }
  if (prefetchMultiplier !== null) {
    edit((line) => setChildOption(line, 'prefetch', prefetchMultiplier));
  }
  if (queues !== null) edit((line) => setQueues(line, queues));
  edit((line) => addInclude(line, supportModule.name));
  edit((line) => extendEnv(line, desired.supportDirectory));
  edit((line) => setByEnv(line, whole, desired.supportDirectory));
  edit(becomeWorker);
  return edited;
}

/** Removes lines whose only purpose is to kill Celery by name; ExecReload= stays. */
function removeKillers(file: UnitFile): UnitFile {
  const keys = ['ExecStartPre', 'ExecStartPost', 'ExecStop', 'ExecStopPost'];
  return file.removeEntries(
    keys.flatMap((key) => file.assignments('Service', key)).filter(killsCeleryByName),
  );
}

const redisUnits = ['redis.service', 'redis-server.service'];

/** Debian's redis-server.service is also redis.service, but only while it is enabled. */
function orderAfterRedis(file: UnitFile): UnitFile {
  for (const entry of file.effective('Unit', 'After')) {
    const words = splitWords(entry.value) ?? [];
    const found = words.filter(({ text }) => redisUnits.includes(text));
    const [first] = found;
    const ordered = file.values('Unit', 'After').join(' ').split(/\s+/);
    const missing = redisUnits.filter((unit) => !ordered.includes(unit));
    if (first && missing.length > 0) {
      const text = missing.map((unit) => ` ${unit}`).join('');
      return file.splice(entry, [{ start: first.end, end: first.end, text }]);
    }
  }
  return file;
}
