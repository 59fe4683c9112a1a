import type { DeployWorkerDesired } from '../config/deploy-worker-desired.ts';
import { printSize } from '../config/quantities.ts';
import { ConfigError } from '../model/errors.ts';
import type { Finding } from '../model/operation.ts';
import type { Bytes } from '../model/units.ts';
import {
  addInclude,
  isExpanded,
  quoteWord,
  readWorkerLine,
  setConcurrency,
  setQueues,
  splitWords,
  type WorkerLine,
} from '../systemd/exec-line.ts';
import { type Assignment, parseUnitFile, type UnitFile } from '../systemd/unit-file.ts';
import { findUnitFaults, killsCeleryByName, type UnitContext } from '../systemd/unit-rules.ts';
import {
  microseconds,
  parseSize,
  parseTimeSpan,
  printSizeProperty,
  printTimeSpan,
} from '../systemd/values.ts';

/** A unit file as it is, and what else systemd makes of it. */
export interface UnitSource {
  readonly path: string;
  readonly text: string;
  readonly dropIns: readonly { readonly path: string; readonly text: string }[];
}

/** The unit as it is to be. */
export interface WorkerUnit {
  readonly text: string;
  readonly line: WorkerLine;
  /** What `systemctl show` must then print. */
  readonly properties: Readonly<Record<string, string>>;
  /** `key: before → after`, one for each setting that changes. */
  readonly changes: readonly string[];
  readonly findings: readonly Finding[];
  readonly installable: boolean;
  /** How long systemd waits for the worker; `Infinity` when it waits for ever. */
  readonly startMicroseconds: number;
  readonly stopMicroseconds: number;
}

/** Added to the longest task: a warm shutdown has more to do than that. */
export const stopMarginSeconds = 60;

/**
 * Rewrites a worker's unit, keeping its comments, its order and whatever is not ours to set.
 *
 * @throws ConfigError when the unit can't be read, or a drop-in contradicts
 */
export function rewriteWorkerUnit(
  source: UnitSource,
  desired: DeployWorkerDesired,
  context: UnitContext,
): WorkerUnit {
  const before = parseUnitFile(source.text);
  readWorkerLine(before, source.path);
  const settings = listSettings(before, desired, context.swapActive);
  checkDropIns(source, settings, desired);

  let after = editExecStart(before, source.path, desired);
  after = removeKillers(after);
  after = orderAfterRedis(after);
  for (const setting of settings) after = applySetting(after, setting);
  after = addPythonPath(after, desired.supportDirectory);

  const line = readWorkerLine(after, source.path);
  const effective = (key: string) => lastValue(after, source, 'Service', key);
  return {
    text: after.print(),
    line,
    properties: listProperties(after, source, settings),
    changes: listChanges(before, after, describeCall(readWorkerLine(before, source.path), line)),
    findings: [
      ...describeFaults(source, before, after, context),
      ...describePool(line, desired),
      ...describeSwap(desired, context.swapActive),
    ],
    installable: after.hasSection('Install'),
    startMicroseconds:
      spanOrNever(effective('TimeoutStartSec')) ?? microseconds(desired.startTimeoutSeconds),
    stopMicroseconds:
      spanOrNever(effective('TimeoutStopSec')) ??
      microseconds(desired.longestTaskSeconds + stopMarginSeconds),
  };
}

/** One key that is ours to set. */
interface Setting {
  readonly section: 'Unit' | 'Service';
  readonly key: string;
  /** `null`: it must not be set. */
  readonly value: string | null;
  /** Whether what is written means the same; `null` is no line, or an empty one. */
  readonly accepts: (written: string | null) => boolean;
  /** The property of `systemctl show`, and how it prints what is written. */
  readonly property: readonly [name: string, print: (written: string | null) => string] | null;
  /** Other spellings of the same setting; they would win or lose by accident. */
  readonly others: readonly (readonly [section: 'Unit' | 'Service', key: string])[];
}

function listSettings(
  file: UnitFile,
  desired: DeployWorkerDesired,
  swapActive: boolean,
): readonly Setting[] {
  const watched = desired.watchdogSec !== null;
  const notifies = watched || /^notify/.test(file.value('Service', 'Type') ?? '');
  const stop = desired.longestTaskSeconds + stopMarginSeconds;
  const signal = file.value('Service', 'KillSignal');
  return [
    span('Unit', 'StartLimitIntervalSec', 'StartLimitIntervalUSec', desired.startLimitIntervalSec, [
      ['Unit', 'StartLimitInterval'],
      ['Service', 'StartLimitInterval'],
      ['Service', 'StartLimitIntervalSec'],
    ]),
    word('Unit', 'StartLimitBurst', String(desired.startLimitBurst), [
      ['Service', 'StartLimitBurst'],
    ]),
    ...(watched
      ? [word('Service', 'Type', 'notify'), word('Service', 'NotifyAccess', 'main')]
      : []),
    word('Service', 'KillMode', 'mixed'),
    ...(signal === null || /^(?:SIG)?TERM$|^15$/.test(signal)
      ? []
      : [word('Service', 'KillSignal', 'SIGTERM')]),
    ...(notifies
      ? [atLeast('TimeoutStartSec', 'TimeoutStartUSec', desired.startTimeoutSeconds)]
      : []),
    atLeast('TimeoutStopSec', 'TimeoutStopUSec', stop),
    word('Service', 'Restart', 'always'),
    span('Service', 'RestartSec', 'RestartUSec', desired.restartSec),
    size('MemoryMax', desired.memoryMaxBytes, [['Service', 'MemoryLimit']]),
    size('MemoryHigh', swapActive ? desired.memoryHighBytes : null),
    word('Service', 'OOMPolicy', 'continue'),
    span('Service', 'WatchdogSec', 'WatchdogUSec', desired.watchdogSec),
  ];
}

function word(
  section: Setting['section'],
  key: string,
  value: string,
  others: Setting['others'] = [],
): Setting {
  const property = key === 'KillSignal' ? '15' : value;
  return {
    section,
    key,
    value,
    accepts: (written) => written === value,
    property: [key, () => property],
    others,
  };
}

/** A time span; `null`: none, or zero, or infinity. */
function span(
  section: Setting['section'],
  key: string,
  property: string,
  seconds: number | null,
  others: Setting['others'] = [],
): Setting {
  const wanted = seconds === null ? null : microseconds(seconds);
  return {
    section,
    key,
    value: seconds === null ? null : String(seconds),
    accepts: (written) => {
      const found = written === null ? null : parseTimeSpan(written);
      if (wanted !== null) return found === wanted;
      return written === null || found === 0 || found === Number.POSITIVE_INFINITY;
    },
    // systemd prints a watchdog that is off as 0 or as infinity, by its version.
    property: wanted === null ? null : [property, () => printTimeSpan(wanted)],
    others,
  };
}

/** A limit of time that may be longer than asked: somebody knew why. */
function atLeast(key: string, property: string, seconds: number): Setting {
  return {
    section: 'Service',
    key,
    value: String(seconds),
    accepts: (written) => (spanOrNever(written) ?? -1) >= microseconds(seconds),
    property: [property, (written) => printTimeSpan(spanOrNever(written) ?? microseconds(seconds))],
    others: [],
  };
}

/** Zero switches such a limit off; `null` when nothing that systemd reads is written. */
function spanOrNever(written: string | null): number | null {
  const found = written === null ? null : parseTimeSpan(written);
  return found === 0 ? Number.POSITIVE_INFINITY : found;
}

function size(key: string, wanted: Bytes | null, others: Setting['others'] = []): Setting {
  return {
    section: 'Service',
    key,
    value: wanted === null ? null : printSize(wanted),
    accepts: (written) => {
      const found = written === null ? null : parseSize(written);
      if (wanted === null) return written === null || found?.kind === 'infinity';
      return found?.kind === 'bytes' && found.bytes === wanted;
    },
    property: [key, () => printSizeProperty(wanted)],
    others,
  };
}

/** New lines stand below their kin. */
const neighbours: Readonly<Record<string, string>> = {
  StartLimitBurst: 'StartLimitIntervalSec',
  NotifyAccess: 'Type',
  RestartSec: 'Restart',
  TimeoutStopSec: 'TimeoutStartSec',
  MemoryHigh: 'MemoryMax',
  Environment: 'WorkingDirectory',
};

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

/** `TimeoutSec=` is both time-outs at once: the one that is not ours is kept by its own name. */
function splitTimeout(file: UnitFile): UnitFile {
  const both = file.value('Service', 'TimeoutSec');
  const without = file.remove('Service', 'TimeoutSec');
  return both === null || without.value('Service', 'TimeoutStartSec') !== null
    ? without
    : without.set('Service', 'TimeoutStartSec', both);
}

function editExecStart(file: UnitFile, path: string, desired: DeployWorkerDesired): UnitFile {
  const { concurrency, queues, supportModule } = desired;
  let edited = file;
  const edit = (change: (line: WorkerLine) => Parameters<UnitFile['splice']>[1]): void => {
    const line = readWorkerLine(edited, path);
    edited = edited.splice(line.entry, change(line));
  };
  // A solo pool has no children, whatever the number says.
  if (concurrency !== null) {
    edit((line) => (line.call.pool === 'solo' ? [] : setConcurrency(line, concurrency)));
  }
  if (queues !== null) edit((line) => setQueues(line, queues));
  edit((line) => addInclude(line, supportModule.name));
  edit((line) => extendEnv(line, desired.supportDirectory));
  return edited;
}

/** `env PYTHONPATH=… celery` beats Environment=. */
function extendEnv(line: WorkerLine, directory: string): Parameters<UnitFile['splice']>[1] {
  return line.words
    .slice(0, line.call.wrapper.length)
    .filter(({ text }) => text.startsWith(pythonPathIs) && !holds(text, directory))
    .map(({ text, start, end }) => ({ start, end, text: quoteWord(extend(text, directory)) }));
}

const pythonPathIs = 'PYTHONPATH=';

/** In a unit file `%` is written twice; the directory may hold one. */
const written = (directory: string): string => directory.replaceAll('%', '%%');

const holds = (assignment: string, directory: string): boolean =>
  assignment.slice(pythonPathIs.length).split(':').includes(written(directory));

const extend = (assignment: string, directory: string): string =>
  assignment + (assignment === pythonPathIs ? '' : ':') + written(directory);

/** The assignments of PYTHONPATH in `Environment=`; the last one counts. */
function pythonPaths(entries: readonly Assignment[]) {
  return entries.flatMap((entry) =>
    (splitWords(entry.value) ?? [])
      .filter(({ text }) => text.startsWith(pythonPathIs))
      .map((assignment) => ({ entry, assignment })),
  );
}

function addPythonPath(file: UnitFile, directory: string): UnitFile {
  const last = pythonPaths(file.effective('Service', 'Environment')).at(-1);
  if (!last) {
    const value = quoteWord(pythonPathIs + written(directory));
    return file.add('Service', 'Environment', [value], neighbours.Environment);
  }
  const { text, start, end } = last.assignment;
  if (holds(text, directory)) return file;
  return file.splice(last.entry, [{ start, end, text: quoteWord(extend(text, directory)) }]);
}

/** Lines whose whole purpose is to kill Celery by name; a reload is left to its author. */
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

function checkDropIns(
  source: UnitSource,
  settings: readonly Setting[],
  desired: DeployWorkerDesired,
): void {
  for (const { path, text } of source.dropIns) {
    const file = parseUnitFile(text);
    const refuse = (entry: Assignment, expected: string): never => {
      throw new ConfigError(
        'input unit',
        `${path}:${file.lineOf(entry)} sets ${entry.key}=${entry.value}, which beats ${source.path}`,
        `${expected}; then run \`systemctl daemon-reload\``,
      );
    };
    const [exec] = file.assignments('Service', 'ExecStart');
    if (exec) refuse(exec, `ExecStart= in ${source.path} only: remove it from ${path}`);
    for (const { section, key, value, accepts, others } of settings) {
      const spellings = [[section, key] as const, ...others];
      for (const [otherSection, other] of spellings) {
        const entry = file.assignments(otherSection, other).at(-1);
        if (entry && !accepts(entry.value === '' ? null : entry.value)) {
          refuse(
            entry,
            value === null ? `no ${other}= in it` : `${other}=${value}, or no such line`,
          );
        }
      }
    }
    const both = file.assignments('Service', 'TimeoutSec').at(-1);
    if (both) refuse(both, 'TimeoutStartSec= and TimeoutStopSec= instead of it');
    checkDropInPath(file, path, desired.supportDirectory, refuse);
  }
}

function checkDropInPath(
  file: UnitFile,
  path: string,
  directory: string,
  refuse: (entry: Assignment, expected: string) => never,
): void {
  const all = file.assignments('Service', 'Environment');
  const last = pythonPaths(all).at(-1);
  if (last && !holds(last.assignment.text, directory)) {
    refuse(last.entry, `${written(directory)} in its PYTHONPATH, or no PYTHONPATH in ${path}`);
  }
  const reset = all.findLast(({ value }) => value === '');
  if (reset && !(last && all.indexOf(last.entry) > all.indexOf(reset))) {
    refuse(reset, `no empty Environment= in ${path}: it takes PYTHONPATH away`);
  }
}

/** Drop-ins come after the file, and each beats those before it. */
function lastValue(
  file: UnitFile,
  source: UnitSource,
  section: string,
  key: string,
): string | null {
  return source.dropIns.reduce<string | null>(
    (value, { text }) => {
      const dropIn = parseUnitFile(text);
      return dropIn.assignments(section, key).length > 0 ? dropIn.value(section, key) : value;
    },
    file.value(section, key),
  );
}

function listProperties(
  file: UnitFile,
  source: UnitSource,
  settings: readonly Setting[],
): Readonly<Record<string, string>> {
  const properties: Record<string, string> = { KillSignal: '15' };
  for (const { section, key, property } of settings) {
    if (property === null) continue;
    const [name, print] = property;
    properties[name] = print(lastValue(file, source, section, key));
  }
  return properties;
}

/** What differs between two texts, setting by setting, in the words of the file. */
function listChanges(
  before: UnitFile,
  after: UnitFile,
  call: readonly string[],
): readonly string[] {
  const keys = new Map<string, readonly [section: string, key: string]>();
  for (const { entries } of [before, after]) {
    for (const entry of entries) {
      if (entry.kind === 'assignment' && entry.section !== null) {
        keys.set(`${entry.section} ${entry.key}`, [entry.section, entry.key]);
      }
    }
  }
  return [...keys.values()].flatMap(([section, key]) => {
    const was = before.values(section, key).join(' ');
    const is = after.values(section, key).join(' ');
    if (was === is) return [];
    if (key === 'ExecStart') return call;
    if (key.startsWith('Exec')) {
      const kept = after.values(section, key);
      const gone = before.values(section, key).filter((value) => !kept.includes(value));
      return gone.map((value) => `${key}=${value} removed`);
    }
    if (is === '') return [`${key} removed`];
    if (key === 'Environment' || key === 'After') {
      const added = (splitWords(is) ?? []).filter(({ text }) => !was.includes(text));
      return [`${key} with ${added.map(({ text }) => text).join(' ')}`];
    }
    return [`${key} ${was === '' ? 'unset' : was} → ${is}`];
  });
}

function describeCall(before: WorkerLine, after: WorkerLine): readonly string[] {
  const [was, is] = [before.call, after.call];
  const named = ({ concurrency, autoscale }: typeof was): string =>
    autoscale === null ? (concurrency ?? 'unset') : `${autoscale} (autoscale)`;
  const lists = ({ queues }: typeof was): string => queues?.join(',') ?? 'unset';
  const added = is.include.filter((module) => !was.include.includes(module));
  return [
    ...(named(was) === named(is) ? [] : [`concurrency ${named(was)} → ${named(is)}`]),
    ...(lists(was) === lists(is) ? [] : [`queues ${lists(was)} → ${lists(is)}`]),
    ...added.map((module) => `${module} loaded`),
  ];
}

function describeFaults(
  source: UnitSource,
  before: UnitFile,
  after: UnitFile,
  context: UnitContext,
): readonly Finding[] {
  const still = findUnitFaults(after, context);
  const own = findUnitFaults(before, context).map(({ rule, seen, line }): Finding => {
    const mended = !still.some((fault) => fault.rule.id === rule.id && fault.seen === seen);
    return {
      level: mended ? 'notice' : 'warning',
      message: mended
        ? `${rule.title} (${seen}): ${rule.why}. The new unit mends it`
        : `${rule.title} (${seen}): ${rule.why}. Not mended here: ${rule.fix}`,
      where: line === null ? source.path : `${source.path}:${line}`,
    };
  });
  const inDropIns = source.dropIns.flatMap(({ path, text }) =>
    findUnitFaults(parseUnitFile(text), context)
      .filter(({ rule }) => ['shell-syntax', 'kill-by-name'].includes(rule.id))
      .map(
        ({ rule, seen, line }): Finding => ({
          level: 'warning',
          message: `${rule.title} (${seen}): ${rule.why}. Not mended in a drop-in: ${rule.fix}`,
          where: `${path}:${line ?? 1}`,
        }),
      ),
  );
  return [...own, ...inDropIns];
}

function describePool(line: WorkerLine, desired: DeployWorkerDesired): readonly Finding[] {
  const { pool } = line.call;
  if (desired.concurrency === null || pool === 'prefork' || pool === 'processes') return [];
  return [
    {
      level: 'notice',
      message:
        pool === 'solo'
          ? 'a solo pool runs one task at a time in the main process: concurrency is not applied'
          : `a pool of kind ${pool} runs its tasks in the main process: concurrency ${desired.concurrency} counts those at a time, not processes`,
    },
  ];
}

function describeSwap(desired: DeployWorkerDesired, swapActive: boolean): readonly Finding[] {
  if (swapActive || desired.memoryHighBytes === null) return [];
  return [
    {
      level: 'warning',
      // After provision's dry run this is all that tells what the real run comes to.
      message: `no swap is active, so MemoryHigh= is not set: without swap it would slow the worker down without end. With swap the unit also gets MemoryHigh=${printSize(desired.memoryHighBytes)}: run provision first (its dry run turns swap on only on paper)`,
    },
  ];
}

/** Direct children of the main process once the worker is up; `null` when nobody can say. */
export function countChildren(line: WorkerLine, cpus: number): number | null {
  const { pool, concurrency, autoscale, beat } = line.call;
  const scheduler = beat ? 1 : 0;
  if (['solo', 'threads', 'gevent', 'eventlet'].includes(pool)) return scheduler;
  if ((pool !== 'prefork' && pool !== 'processes') || autoscale !== null) return null;
  const children = concurrency === null || concurrency === '0' ? cpus : Number(concurrency);
  return Number.isInteger(children) ? children + scheduler : null;
}

/** The value of `-A`, where systemd puts nothing else in its place. */
export function appOf(line: WorkerLine): string | null {
  const { app } = line.call;
  return app === null || app === '' || isExpanded(app) ? null : app.replaceAll('%%', '%');
}
