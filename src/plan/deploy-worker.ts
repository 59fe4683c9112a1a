import type { DeployWorkerDesired } from '../config/deploy-worker-desired.ts';

import { ConfigError } from '../model/errors.ts';
import type { FactsFor, FileFact, UnitFact } from '../model/facts.ts';
import type { Finding, Operation, Plan } from '../model/operation.ts';
import { bytes, type Seconds, type Sha256, seconds } from '../model/units.ts';
import { formatBytes, formatDuration } from '../report/quantities.ts';
import { findCeleryCall } from '../systemd/celery-call.ts';
import { isExpanded, type WorkerLine } from '../systemd/exec-line.ts';
import { interpreterOfCommand } from '../systemd/interpreter.ts';
import { microseconds } from '../systemd/values.ts';
import { type ByTheApp, planLeftovers } from './leftovers.ts';
import { describeLeftAlone, endStrays, findStrays, type StrayWorkers } from './strays.ts';
import { unifiedDiff } from './text-diff.ts';
import {
  appOf,
  countChildren,
  rewriteWorkerUnit,
  stopMarginSeconds,
  type WorkerUnit,
} from './worker-unit.ts';

export interface DeployWorkerQuery {
  readonly host: Record<string, never>;
  readonly unit: { readonly name: string };
  readonly workers: Record<string, never>;
  readonly swap: { readonly path: string };
  readonly code: { readonly unit: string };
  readonly files: { readonly paths: readonly string[] };
  readonly transactions: { readonly unit: string };
  readonly stores: { readonly unit: string } | { readonly paths: readonly string[] };
}

export type DeployWorkerFacts = FactsFor<DeployWorkerQuery>;

/** What must be known of the host before its worker can be planned. */
export function deployWorkerQuery(desired: DeployWorkerDesired): DeployWorkerQuery {
  return {
    host: {},
    unit: { name: desired.unit },
    workers: {},
    swap: { path: '/swapfile' },
    code: { unit: desired.unit },
    files: { paths: [supportPath(desired)] },
    transactions: { unit: desired.unit },
    stores: storesQuery(desired),
  };
}

/** Only who wants jobs settled pays for looking for them. */
function storesQuery({ orphanedJobs, unit }: DeployWorkerDesired): DeployWorkerQuery['stores'] {
  const { action, database } = orphanedJobs;
  if (action === 'leave') return { paths: [] };
  return database === null ? { unit } : { paths: [database] };
}

/**
 * What brings the host to this worker: the app tried and the unit checked before anything changes,
 * the new definition in force before the old worker is stopped (so that its tasks may end), strays
 * ended while nothing consumes, a start, and the proof.
 *
 * @throws ConfigError when the unit can't be read or must not be edited, or the wishes contradict
 */
export function planDeployWorker(facts: DeployWorkerFacts, desired: DeployWorkerDesired): Plan {
  checkDesired(desired);
  const source = readSource(facts.unit, desired);
  const swapActive = facts.swap.active.length > 0 || facts.host.memory.swapTotalBytes > 0;
  const unit = rewriteWorkerUnit(source, desired, {
    swapActive,
    longestTaskSeconds: desired.longestTaskSeconds,
  });
  const app = requireApp(unit.line, source.path, desired);
  const strays = findStrays(facts.workers, {
    unit: desired.unit,
    controlGroup: facts.unit.properties.ControlGroup ?? '',
    app,
    workingDirectory:
      unit.line.call.workingDirectory ?? facts.unit.properties.WorkingDirectory ?? '',
  });
  const known = knownProperties(unit, facts.unit);
  const install = planInstall(source, unit, facts.unit, desired);
  const support = planSupport(facts.files[supportPath(desired)], desired);
  const enable = planEnable(facts.unit, unit, desired);
  const reasons = listRestartReasons(facts, desired, unit, known, support !== null);
  const endings = endStrays(strays.strays, desired.strays.graceSeconds);
  const restart = reasons.length > 0;

  const own = byTheApp(unit, facts.unit, app, desired);
  const leftovers = planLeftovers(own, facts.stores, desired);

  const operations: Operation[] = [];
  if (restart) {
    operations.push(tryApp(own, desired));
    if (install?.rewritten) operations.push(verifyUnit(unit, desired));
    operations.push(guardUnit(desired));
    if (support) operations.push(support);
    if (install) operations.push(install.operation);
  }
  if (enable) operations.push(enable);
  if (restart && facts.unit.activeState === 'active') {
    operations.push(drainWorker(own, desired));
  }
  if (restart && !isAtRest(facts.unit)) operations.push(stopUnit(unit, reasons, desired));
  operations.push(...endings);
  if (restart) {
    operations.push(...leftovers.beforeStart, startUnit(unit, reasons, desired));
  }
  if (restart || endings.length > 0) {
    operations.push(proveUnit(unit, known, facts, desired));
  }
  if (restart) operations.push(...leftovers.afterProof);
  return {
    operations,
    satisfied: describeSatisfied({
      facts,
      desired,
      unit,
      install,
      support,
      enable,
      restart,
      strays,
    }),
    findings: [
      ...unit.findings,
      ...describeMemory(facts, desired, unit),
      ...describeLeftAlone(strays),
      ...leftovers.findings,
      ...describeHost(facts, desired, unit),
    ],
  };
}

function supportPath({ supportDirectory, supportModule }: DeployWorkerDesired): string {
  return `${supportDirectory}/${supportModule.name}.py`;
}

function checkDesired(desired: DeployWorkerDesired): void {
  const { startLimitBurst, restartSec, startLimitIntervalSec } = desired;
  const longest = startLimitBurst * restartSec;
  if (startLimitIntervalSec <= longest) {
    throw new ConfigError(
      'input start-limit-interval',
      `${startLimitIntervalSec} s is not longer than ${startLimitBurst} starts with ${restartSec} s between them (${longest} s), so a worker that crashes would be started for ever`,
      `more than ${longest}s`,
    );
  }
  const { memoryHighBytes, memoryMaxBytes } = desired;
  if (memoryHighBytes !== null && memoryMaxBytes !== null && memoryHighBytes >= memoryMaxBytes) {
    throw new ConfigError(
      'input memory-high',
      `${formatBytes(memoryHighBytes)} is not below memory-max (${formatBytes(memoryMaxBytes)})`,
      `less than ${formatBytes(memoryMaxBytes)}, or \`off\``,
    );
  }
}

interface Source {
  readonly path: string;
  readonly text: string;
  readonly dropIns: UnitFact['dropIns'];
  /** Where the new text goes: always below /etc. */
  readonly target: string;
  readonly expects: Sha256 | null;
}

const administrators = '/etc/systemd/system';
const vendors = ['/lib/systemd/system', '/usr/lib/systemd/system', '/usr/local/lib/systemd/system'];

function readSource(unit: UnitFact, desired: DeployWorkerDesired): Source {
  const { fragment, fragmentPath: path } = unit;
  const refuse = (problem: string, expected: string): never => {
    throw new ConfigError('input unit', problem, expected);
  };
  const name = desired.unit;
  if (name.includes('@')) {
    return refuse(
      `${name} is an instance of a template, which other instances share`,
      'a unit of its own, such as celery-worker.service',
    );
  }
  const masked = fragment.kind === 'symlink' && fragment.target === '/dev/null';
  if (masked || unit.loadState === 'masked') {
    return refuse(`${name} is masked`, `a unit that may run: \`systemctl unmask ${name}\` first`);
  }
  if (unit.loadState === 'not-found' || path === '' || fragment.kind === 'absent') {
    return refuse(
      `the host has no ${name}`,
      'the name of a unit that is there: see `systemctl list-unit-files "*celery*"`',
    );
  }
  if (fragment.kind === 'symlink') {
    return refuse(
      `${path} is a link to ${fragment.target}`,
      `the name of that unit itself, or a regular file in ${administrators}`,
    );
  }
  if (fragment.kind === 'other' || fragment.text === null) {
    return refuse(
      `${path} is ${fragment.kind === 'other' ? `a ${fragment.what}` : 'too large, or not UTF-8 text'}`,
      'a unit file',
    );
  }
  const at = path.lastIndexOf('/');
  const [folder, file] = [path.slice(0, at), path.slice(at + 1)];
  if (file !== name) {
    return refuse(`${name} is another name of ${file}`, file);
  }
  const isVendors = vendors.includes(folder);
  if (folder !== administrators && !isVendors) {
    return refuse(
      `${path} is generated or linked from elsewhere`,
      `a unit file in ${administrators} or ${vendors.join(', ')}`,
    );
  }
  return {
    path,
    text: fragment.text,
    dropIns: unit.dropIns,
    target: `${administrators}/${name}`,
    expects: isVendors ? null : fragment.sha256,
  };
}

function requireApp(line: WorkerLine, path: string, desired: DeployWorkerDesired): string {
  const app = appOf(line) ?? desired.app;
  if (app !== null) return app;
  const written = line.call.app;
  throw new ConfigError(
    'input unit',
    written === null
      ? `ExecStart= in ${path} does not name the app`
      : `ExecStart= in ${path} names the app by a variable (-A ${written})`,
    '`-A module` with the name of the app itself in ExecStart=',
  );
}

/** An older systemd does not know every property; what it does not print can't be proved. */
function knownProperties(unit: WorkerUnit, fact: UnitFact): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries(unit.properties).filter(([name]) => name in fact.properties),
  );
}

interface Install {
  readonly operation: Operation;
  /** False when systemd only has to read the text that is there. */
  readonly rewritten: boolean;
}

function planInstall(
  source: Source,
  unit: WorkerUnit,
  fact: UnitFact,
  desired: DeployWorkerDesired,
): Install | null {
  const rewritten = unit.text !== source.text;
  if (!rewritten && !fact.needDaemonReload) return null;
  const path = rewritten ? source.target : source.path;
  const copied = rewritten && source.target !== source.path;
  const place = copied
    ? ` (a copy of ${source.path}, which packages may overwrite, and which this one beats)`
    : '';
  return {
    rewritten,
    operation: {
      op: 'install-unit',
      unit: desired.unit,
      path,
      text: unit.text,
      expects: rewritten ? source.expects : fileHash(fact.fragment),
      title: rewritten ? `install ${path}` : `have systemd read ${path} again`,
      why: rewritten ? unit.changes.join(', ') + place : 'it changed after systemd read it',
      ...(rewritten ? { diff: unifiedDiff(path, source.text, unit.text) } : {}),
    },
  };
}

const fileHash = (file: FileFact): Sha256 | null => (file.kind === 'file' ? file.sha256 : null);

function planSupport(
  file: FileFact = { kind: 'absent' },
  desired: DeployWorkerDesired,
): Operation | null {
  const path = supportPath(desired);
  const { text } = desired.supportModule;
  if (file.kind === 'symlink' || file.kind === 'other') {
    throw new ConfigError('host', `${path} is not a regular file`, 'a regular file, or none');
  }
  const mode = '0644';
  if (file.kind === 'file' && file.text === text && file.mode === mode) return null;
  const before = file.kind === 'file' ? file.text : null;
  return {
    op: 'write-file',
    path,
    text,
    mode,
    expects: fileHash(file),
    title: `write the support module ${path}`,
    why: file.kind === 'absent' ? 'it is not there' : 'it is of another version',
    // New, it is Celeriac's own file as published; what matters is when it changes.
    ...(before !== null && { diff: unifiedDiff(path, before, text) }),
  };
}

function planEnable(
  fact: UnitFact,
  unit: WorkerUnit,
  desired: DeployWorkerDesired,
): Operation | null {
  const state = fact.unitFileState;
  if (!unit.installable || !['disabled', 'enabled-runtime'].includes(state)) return null;
  return {
    op: 'enable-unit',
    unit: desired.unit,
    title: `start ${desired.unit} at boot`,
    why: state === 'disabled' ? 'it is disabled' : 'it is enabled until the next boot only',
  };
}

/** Nothing to stop: it does not run and is not about to be started again. */
function isAtRest(unit: UnitFact): boolean {
  return ['inactive', 'failed'].includes(unit.activeState) && unit.processes.length === 0;
}

function listRestartReasons(
  facts: DeployWorkerFacts,
  desired: DeployWorkerDesired,
  unit: WorkerUnit,
  known: Readonly<Record<string, string>>,
  supportChanges: boolean,
): readonly string[] {
  const { unit: fact, code } = facts;
  const reasons: string[] = [];
  if (fact.activeState !== 'active') {
    const { activeState, subState } = fact;
    reasons.push(`it is ${activeState}${activeState === subState ? '' : ` (${subState})`}`);
  }
  if (unit.changes.length > 0 || unit.text !== textOf(fact)) reasons.push('its unit changes');
  else if (fact.needDaemonReload) reasons.push('systemd has not read its unit as it is now');
  else {
    const differing = Object.entries(known)
      .filter(([name, value]) => fact.properties[name] !== value)
      .map(([name, value]) => `${name} is ${fact.properties[name]}, not ${value}`);
    reasons.push(...differing);
    reasons.push(...whyRunningDiffers(fact, unit.line));
  }
  if (supportChanges) reasons.push('its support module changes');
  const { newest } = code;
  if (newest !== null && fact.activeSince !== null && newest.modified > fact.activeSince) {
    reasons.push(`${newest.path} is newer than the worker`);
  }
  if (reasons.length === 0 && desired.restartPolicy === 'always') reasons.push('it is asked for');
  return reasons;
}

const textOf = (unit: UnitFact): string | null =>
  unit.fragment.kind === 'file' ? unit.fragment.text : null;

/** The worker may be older than its unit: then its own arguments tell. */
function whyRunningDiffers(fact: UnitFact, line: WorkerLine): readonly string[] {
  const main = fact.processes.find(({ pid }) => pid === fact.mainPid);
  const found = main && findCeleryCall(main.argv);
  if (found?.kind !== 'found') return [];
  const [running, wanted] = [found.call, line.call];
  const differs = (is: string | null, should: string | null): boolean =>
    is !== should && !(should !== null && isExpanded(should));
  const reasons: string[] = [];
  if (differs(running.concurrency, wanted.concurrency)) {
    reasons.push(`it runs with concurrency ${running.concurrency ?? 'unset'}`);
  }
  const queues = (call: typeof running) => call.queues?.join(',').replaceAll('%%', '%') ?? null;
  if (differs(queues(running), queues(wanted))) {
    reasons.push(`it consumes ${queues(running) ?? 'the queues of the app'}`);
  }
  const missing = wanted.include.filter(
    (module) => !isExpanded(module) && !running.include.includes(module),
  );
  if (missing.length > 0) reasons.push(`it runs without ${missing.join(', ')}`);
  return reasons;
}

/** What a process of the app's own is started with. */
function byTheApp(
  unit: WorkerUnit,
  fact: UnitFact,
  app: string,
  desired: DeployWorkerDesired,
): ByTheApp {
  const { workingDirectory } = unit.line.call;
  return {
    unit: desired.unit,
    interpreter: interpreterFor(unit.line, fact),
    app,
    pythonPath: [
      desired.supportDirectory,
      ...(workingDirectory !== null && !isExpanded(workingDirectory) ? [workingDirectory] : []),
    ],
  };
}

function tryApp(own: ByTheApp, desired: DeployWorkerDesired): Operation {
  return {
    op: 'try-app',
    ...own,
    timeoutSeconds: desired.startTimeoutSeconds,
    title: `import ${own.app} as the worker would`,
    why: 'an app that does not import must not cost the worker that runs',
  };
}

/**
 * The Python of the worker. A program whose shebang is no Python, such as pip's trampoline for long
 * paths, has its Python beside it.
 *
 * @throws ConfigError when the program is not there
 */
function interpreterFor(line: WorkerLine, fact: UnitFact): readonly string[] {
  const { environment, wrapper } = line.call;
  const argv = line.argv.slice(wrapper.length);
  const [program = ''] = argv;
  if (fact.programs[program]?.exists === false) {
    throw new ConfigError(
      'input unit',
      `ExecStart= runs ${program}, which is not on the host`,
      'the path of the celery that the app uses',
    );
  }
  const path = program.startsWith('/') ? program : resolveProgram(program, fact);
  const literal = environment.filter((word) => !isExpanded(word)).map(unescapePercent);
  const env = literal.length > 0 ? ['/usr/bin/env', ...literal] : [];
  const beside = `${path.slice(0, path.lastIndexOf('/'))}/python3`;
  const python = interpreterOfCommand([path, ...argv.slice(1)], fact.programs) ?? [beside];
  return [...env, ...python];
}

const unescapePercent = (text: string): string => text.replaceAll('%%', '%').replaceAll('$$', '$');

/** As systemd finds a bare name; the fact names what it found. */
function resolveProgram(name: string, fact: UnitFact): string {
  const found = Object.entries(fact.programs).find(
    ([path, { exists }]) => exists && path.endsWith(`/${name}`),
  );
  return found?.[0] ?? `/usr/bin/${name}`;
}

function verifyUnit(unit: WorkerUnit, desired: DeployWorkerDesired): Operation {
  return {
    op: 'verify-unit',
    unit: desired.unit,
    text: unit.text,
    title: `have systemd check the new ${desired.unit}`,
    why: 'what it only warns of would not be in force',
  };
}

function guardUnit(desired: DeployWorkerDesired): Operation {
  return {
    op: 'guard-unit',
    unit: desired.unit,
    title: `remember how ${desired.unit} runs now`,
    why: 'if a later step fails, it is brought back to that',
  };
}

const whenTimeIsUp = {
  proceed: 'then its stop waits for the rest',
  abort: 'then the old worker serves on',
  wait: 'and longer as long as tasks end',
} as const;

function drainWorker(own: ByTheApp, desired: DeployWorkerDesired): Operation {
  const { timeoutSeconds, policy } = desired.drain;
  const until = formatDuration(timeoutSeconds);
  return {
    op: 'drain-worker',
    ...own,
    timeoutSeconds,
    policy,
    stuckSeconds: seconds(desired.longestTaskSeconds + stopMarginSeconds),
    title: `drain ${desired.unit}`,
    why: `its tasks have ${until} to end while it takes no more, ${whenTimeIsUp[policy]}`,
  };
}

/** What the agent waits beyond systemd's own limit, so that systemd's answer is the one told. */
const answerSeconds = 30;

function stopUnit(
  unit: WorkerUnit,
  reasons: readonly string[],
  desired: DeployWorkerDesired,
): Operation {
  return {
    op: 'stop-unit',
    unit: desired.unit,
    timeoutSeconds: limit(unit.stopMicroseconds, desired.longestTaskSeconds + stopMarginSeconds),
    title: `stop ${desired.unit}`,
    why: `${reasons.join(', ')}; running tasks have ${words(unit.stopMicroseconds)} to end`,
  };
}

const words = (span: number): string =>
  Number.isFinite(span) ? formatDuration(span / microseconds(1)) : 'all the time they need';

function limit(waitedFor: number, otherwise: number): Seconds {
  const whole = Number.isFinite(waitedFor) ? Math.ceil(waitedFor / microseconds(1)) : otherwise;
  return seconds(whole + answerSeconds);
}

function startUnit(
  unit: WorkerUnit,
  reasons: readonly string[],
  desired: DeployWorkerDesired,
): Operation {
  return {
    op: 'start-unit',
    unit: desired.unit,
    timeoutSeconds: limit(unit.startMicroseconds, desired.startTimeoutSeconds),
    title: `start ${desired.unit}`,
    why: reasons.join(', '),
  };
}

function proveUnit(
  unit: WorkerUnit,
  known: Readonly<Record<string, string>>,
  facts: DeployWorkerFacts,
  desired: DeployWorkerDesired,
): Operation {
  const children = countChildren(unit.line, facts.host.cpus);
  const processes =
    children === null ? '1 main process' : `1 main process with ${children} below it`;
  return {
    op: 'prove-unit',
    unit: desired.unit,
    properties: known,
    children,
    minHealthySeconds: desired.minHealthySeconds,
    timeoutSeconds: desired.startTimeoutSeconds,
    title: `prove that ${desired.unit} runs as asked`,
    why: `${processes}, no restart for ${desired.minHealthySeconds} s, and every limit in force`,
  };
}

interface Planned {
  readonly facts: DeployWorkerFacts;
  readonly desired: DeployWorkerDesired;
  readonly unit: WorkerUnit;
  readonly install: Install | null;
  readonly support: Operation | null;
  readonly enable: Operation | null;
  readonly restart: boolean;
  readonly strays: StrayWorkers;
}

/** What is so already, one line each. */
function describeSatisfied(planned: Planned): readonly string[] {
  const { facts, desired, unit, install, support, enable, restart, strays } = planned;
  const lines: string[] = [];
  const { fragmentPath, unitFileState } = facts.unit;
  if (!install) lines.push(`unit: ${fragmentPath} as asked${describeLimits(unit)}`);
  if (!support) lines.push(`support module: ${supportPath(desired)}`);
  if (!enable && unitFileState === 'enabled') lines.push('at boot: started by systemd');
  if (!restart) {
    const children = countChildren(unit.line, facts.host.cpus);
    const below = children === null ? '' : `, ${children} below it`;
    lines.push(`worker: active with its newest code (main ${facts.unit.mainPid ?? '?'}${below})`);
  }
  if (strays.strays.length === 0) lines.push('strays: none');
  return lines;
}

function describeLimits({ properties }: WorkerUnit): string {
  const shown = ['MemoryMax', 'MemoryHigh'].flatMap((name) => {
    const value = properties[name];
    return value === undefined || value === 'infinity'
      ? []
      : [`${name} ${formatBytes(bytes(Number(value)))}`];
  });
  const watchdog = properties.WatchdogUSec;
  if (watchdog !== undefined) shown.push(`watchdog ${watchdog}`);
  return shown.length === 0 ? '' : `: ${shown.join(', ')}`;
}

/** Whether the children, as large as they are now, fit below the limit. */
function describeMemory(
  facts: DeployWorkerFacts,
  desired: DeployWorkerDesired,
  unit: WorkerUnit,
): readonly Finding[] {
  const { memoryMaxBytes } = desired;
  const children = countChildren(unit.line, facts.host.cpus);
  const largest = Math.max(0, ...facts.unit.processes.map(({ residentBytes }) => residentBytes));
  const findings: Finding[] = [];
  if (memoryMaxBytes !== null && children !== null && largest > 0) {
    const needed = bytes(largest * (children + 1));
    if (needed > memoryMaxBytes) {
      findings.push({
        level: 'warning',
        message: `${children + 1} processes of up to ${formatBytes(bytes(largest))}, as the largest is now, don't fit into MemoryMax ${formatBytes(memoryMaxBytes)}: lower concurrency or raise memory-max`,
      });
    }
  }
  const { totalBytes } = facts.host.memory;
  if (memoryMaxBytes !== null && memoryMaxBytes > totalBytes) {
    findings.push({
      level: 'warning',
      message: `memory-max ${formatBytes(memoryMaxBytes)} is more than the host has (${formatBytes(totalBytes)}): it will never limit anything`,
    });
  }
  return findings;
}

function describeHost(
  facts: DeployWorkerFacts,
  desired: DeployWorkerDesired,
  unit: WorkerUnit,
): readonly Finding[] {
  const findings: Finding[] = [];
  const warn = (message: string): void => {
    findings.push({ level: 'warning', message });
  };
  const { container, cgroupVersion } = facts.host;
  if (cgroupVersion === 1) {
    warn(
      'this host uses cgroups version 1: MemoryMax= counts without swap, and MemoryHigh= has no effect',
    );
  }
  if (container !== null) {
    warn(
      `this host is a container (${container}): memory limits only hold where its own host delegates the memory controller`,
    );
  }
  if (!unit.installable) {
    warn(`${desired.unit} has no [Install] section: nothing starts it at boot`);
  }
  if (facts.code.truncated) {
    warn(
      'there are too many files below WorkingDirectory= to look at them all: newer code may go unseen, `restart: always` is safe',
    );
  }
  const newest = [...facts.transactions].sort((a, b) => a.startedAt - b.startedAt).at(-1);
  if (newest?.state === 'open' || newest?.state === 'undo-failed') {
    const how = newest.state === 'open' ? 'was never finished' : 'could not be undone';
    warn(`the transaction ${newest.id} (${newest.action}, by ${newest.holder}) ${how}`);
  }
  return findings;
}
