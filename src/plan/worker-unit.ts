import { findUnitFaults } from '../celery/unit-faults.ts';
import {
  addInclude,
  becomeWorker,
  readWorkerLine,
  setConcurrency,
  setQueues,
  type WorkerLine,
} from '../celery/worker-line.ts';
import type { DeployWorkerDesired } from '../config/deploy-worker-desired.ts';
import { printSize } from '../config/quantities.ts';
import { ConfigError } from '../model/errors.ts';
import type { Finding } from '../model/operation.ts';
import { isExpanded, quoteWord, splitWords } from '../systemd/exec-line.ts';
import { redact } from '../systemd/secrets.ts';
import { type Assignment, parseUnitFile, type UnitFile } from '../systemd/unit-file.ts';
import {
  killsCeleryByName,
  rulePage,
  type UnitContext,
  type UnitFault,
} from '../systemd/unit-rules.ts';
import { isReadBefore, stackUnit, type UnitPart, type UnitStack } from '../systemd/unit-stack.ts';
import { microseconds } from '../systemd/values.ts';
import { renderDropIn } from './drop-in.ts';
import {
  addReadWritePaths,
  describeHardening,
  printPaths,
  readWritePathsOf,
  sharesTmp,
  writablePaths,
} from './hardening.ts';
import { listSettings, type Setting, spanOrNever, stopMarginSeconds } from './unit-settings.ts';

/** A unit file as it is, and what else systemd makes of it. */
export interface UnitSource {
  readonly path: string;
  readonly text: string;
  /** In the order in which systemd reads them, without Celeriac's own. */
  readonly dropIns: readonly UnitPart[];
  /** Celeriac's own drop-ins that are there now. */
  readonly own: readonly UnitPart[];
  /** The paths that its own may have, best first. */
  readonly ownPaths: readonly string[];
  /** As `systemctl show` prints it. */
  readonly workingDirectory: string;
}

/** The unit as it is to be. */
export interface WorkerUnit {
  /** The unit file's text; in a drop-in's case as it was. */
  readonly text: string;
  /** The drop-in that must be there, and no other of Celeriac's; `null`: none. */
  readonly dropIn: UnitPart | null;
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
  const fragment = stackUnit([source]);
  const edit = editUnit(fragment, source, desired, context);
  checkDropIns(source.dropIns, source.path, edit.settings, desired);
  const text = edit.after.print();
  const effective = stackUnit([{ path: source.path, text }, ...source.dropIns]);
  const before = readLine(fragment, source.path);
  return {
    text,
    dropIn: null,
    ...describeEdit(source, edit, presentUnit(source), effective, desired, context),
    changes: [
      ...listChanges(fragment.file, edit.after, describeCall(before, edit.line)),
      ...source.own.map(({ path }) => `${path} no longer needed`),
    ],
  };
}

/**
 * Leaves the unit file alone and says the same in a drop-in, which holds what the unit and the
 * drop-ins that are read before it don't.
 *
 * @throws ConfigError when the unit can't be read, or a drop-in that is read later contradicts
 */
export function extendWorkerUnit(
  source: UnitSource,
  desired: DeployWorkerDesired,
  context: UnitContext,
): WorkerUnit {
  let refusal: unknown;
  for (const path of source.ownPaths) {
    try {
      return extendBy(path, source, desired, context);
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      // The next name is read later, so that fewer drop-ins can contradict.
      refusal = error;
    }
  }
  throw refusal;
}

function extendBy(
  path: string,
  source: UnitSource,
  desired: DeployWorkerDesired,
  context: UnitContext,
): WorkerUnit {
  const earlier = source.dropIns.filter((dropIn) => isReadBefore(dropIn.path, path));
  const later = source.dropIns.filter((dropIn) => !isReadBefore(dropIn.path, path));
  const base = stackUnit([source, ...earlier]);
  const edit = editUnit(base, source, desired, context);
  checkDropIns(later, path, edit.settings, desired);
  const text = renderDropIn(base.file, edit.after, edit.settings);
  const dropIn = text === null ? null : { path, text };
  const effective = stackUnit([source, ...earlier, ...(dropIn ? [dropIn] : []), ...later]);
  const present = presentUnit(source);
  return {
    text: source.text,
    dropIn,
    ...describeEdit(source, edit, present, effective, desired, context),
    changes: listChanges(
      present.file,
      effective.file,
      describeCall(readIfThere(present, source.path) ?? edit.line, edit.line),
    ),
  };
}

/** The unit with every drop-in that is there now. */
function presentUnit(source: UnitSource): UnitStack {
  const dropIns = [...source.dropIns];
  for (const part of source.own) {
    const at = dropIns.findIndex(({ path }) => isReadBefore(part.path, path));
    dropIns.splice(at === -1 ? dropIns.length : at, 0, part);
  }
  return stackUnit([source, ...dropIns]);
}

/** What is in force now may be broken; it is only compared. */
function readIfThere(unit: UnitStack, path: string): WorkerLine | null {
  try {
    return readLine(unit, path);
  } catch (error) {
    if (error instanceof ConfigError) return null;
    throw error;
  }
}

const readLine = ({ file, whereOf }: UnitStack, path: string): WorkerLine =>
  readWorkerLine(file, path, whereOf);

interface Edit {
  readonly after: UnitFile;
  readonly line: WorkerLine;
  readonly settings: readonly Setting[];
  readonly sharedTmp: boolean;
}

function editUnit(
  before: UnitStack,
  source: UnitSource,
  desired: DeployWorkerDesired,
  context: UnitContext,
): Edit {
  readLine(before, source.path);
  // What the drop-ins say decides, too: of which Type= it is, and whether /tmp is shared.
  const whole = stackUnit([source, ...source.dropIns]).file;
  const settings = listSettings(whole, desired, context.swapActive);
  const sharedTmp = sharesTmp(whole, desired);
  let after = editExecStart(before.file, source.path, desired);
  after = removeKillers(after);
  after = orderAfterRedis(after);
  for (const setting of settings) after = applySetting(after, setting);
  after = addPythonPath(after, desired.supportDirectory);
  const line = readWorkerLine(after, source.path);
  if (desired.hardening === 'standard') {
    const paths = writablePaths(line, source.workingDirectory, sharedTmp, desired);
    after = addReadWritePaths(after, paths);
  }
  return { after, line, settings, sharedTmp };
}

function describeEdit(
  source: UnitSource,
  { settings, sharedTmp }: Edit,
  present: UnitStack,
  effective: UnitStack,
  desired: DeployWorkerDesired,
  context: UnitContext,
): Omit<WorkerUnit, 'text' | 'dropIn' | 'changes'> {
  const { file } = effective;
  const line = readLine(effective, source.path);
  const span = (key: string) => spanOrNever(file.value('Service', key));
  return {
    line,
    properties: listProperties(file, settings, desired),
    findings: [
      ...describeFaults(present, effective, source.path, context),
      ...describePool(line, desired),
      ...describeSwap(desired, context.swapActive),
      ...describeHardening(desired, sharedTmp),
    ],
    installable: file.hasSection('Install'),
    startMicroseconds: span('TimeoutStartSec') ?? microseconds(desired.startTimeoutSeconds),
    stopMicroseconds:
      span('TimeoutStopSec') ?? microseconds(desired.longestTaskSeconds + stopMarginSeconds),
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
  edit(becomeWorker);
  return edited;
}

/** `env PYTHONPATH=… celery` beats Environment=, and so does a shell's own. */
function extendEnv(line: WorkerLine, directory: string): Parameters<UnitFile['splice']>[1] {
  return line.assignments
    .filter(({ text }) => text.startsWith(pythonPathIs) && !holds(text, directory))
    .map(({ text, start, end }) =>
      line.shell === 'none'
        ? { start, end, text: quoteWord(extend(text, directory)) }
        : { start: end, end, text: extend('', directory) },
    );
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

/** @param beaten what the drop-ins are read after */
function checkDropIns(
  dropIns: readonly UnitPart[],
  beaten: string,
  settings: readonly Setting[],
  desired: DeployWorkerDesired,
): void {
  for (const { path, text } of dropIns) {
    const file = parseUnitFile(text);
    const refuse = (entry: Assignment, expected: string): never => {
      throw new ConfigError(
        'input unit',
        `${path}:${file.lineOf(entry)} sets ${redact(`${entry.key}=${entry.value}`)}, which beats ${beaten}`,
        `${expected}; then run \`systemctl daemon-reload\``,
      );
    };
    const [exec] = file.assignments('Service', 'ExecStart');
    if (exec) refuse(exec, `ExecStart= in ${beaten} only: remove it from ${path}`);
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
    const paths = file.assignments('Service', 'ReadWritePaths').find(({ value }) => value === '');
    if (paths && desired.hardening === 'standard') {
      refuse(paths, `no empty ReadWritePaths= in ${path}: it takes the worker's own paths away`);
    }
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

function listProperties(
  file: UnitFile,
  settings: readonly Setting[],
  { hardening }: DeployWorkerDesired,
): Readonly<Record<string, string>> {
  const properties: Record<string, string> = { KillSignal: '15' };
  for (const { section, key, property } of settings) {
    if (property === null) continue;
    const [name, print] = property;
    properties[name] = print(file.value(section, key));
  }
  const paths = hardening === 'off' ? null : printPaths(readWritePathsOf(file));
  if (paths !== null) properties.ReadWritePaths = paths;
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
      return gone.map((value) => `${redact(`${key}=${value}`)} removed`);
    }
    if (is === '') return [`${key} removed`];
    if (['Environment', 'After', 'ReadWritePaths'].includes(key)) {
      const known = (splitWords(was) ?? []).map(({ text }) => text);
      const added = (splitWords(is) ?? []).filter(({ text }) => !known.includes(text));
      const shown = added.map(({ text }) => redact(text)).join(' ');
      return [shown === '' ? `${key} with less` : `${key} with ${shown}`];
    }
    const [last, next] = [before.value(section, key), after.value(section, key)];
    return last === next ? [] : [`${key} ${last ?? 'unset'} → ${next}`];
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
    ...(before.shell === 'waits' && after.shell === 'becomes' ? ['exec before celery'] : []),
  ];
}

/** What is wrong with the unit as it is, and what still is, or newly is, with the new one. */
function describeFaults(
  before: UnitStack,
  after: UnitStack,
  path: string,
  context: UnitContext,
): readonly Finding[] {
  const was = findUnitFaults(before.file, context);
  const still = findUnitFaults(after.file, context);
  const isSame = (one: UnitFault) => (other: UnitFault) =>
    one.rule.id === other.rule.id && one.seen === other.seen;
  const added = still.filter((fault) => !was.some(isSame(fault)));
  const place = (fault: UnitFault): string =>
    fault.entry === null ? path : before.whereOf(fault.entry);
  return [
    ...was.flatMap((fault): readonly Finding[] => {
      const { rule } = fault;
      if (still.some(isSame(fault))) {
        return [describeFault(fault, 'warning', `Not mended here: ${rule.fix}`, place(fault))];
      }
      // Changed, and as wrong as before: what it is now is said below.
      if (added.some((other) => other.rule.id === rule.id)) return [];
      return [describeFault(fault, 'notice', 'The new unit mends it', place(fault))];
    }),
    ...added.map((fault) =>
      describeFault(fault, 'warning', `So it is with the new unit: ${fault.rule.fix}`, path),
    ),
  ];
}

const describeFault = (
  { rule, seen }: UnitFault,
  level: Finding['level'],
  mending: string,
  where: string,
): Finding => ({
  level,
  message: `${rule.title} (${seen}): ${rule.why}. ${mending}. See ${rulePage(rule)}`,
  where,
});

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
