import { findCeleryCall } from '../celery/celery-call.ts';
import { interpreterOfCommand } from '../celery/interpreter.ts';
import { describeLeftAlone, endStrays, findStrays, type StrayWorkers } from '../celery/strays.ts';
import type { WorkerLine } from '../celery/worker-line.ts';
import type { DeployWorkerDesired } from '../config/deploy-worker-desired.ts';
import { queryStores } from '../jobs/tables/store-choice.ts';
import { ConfigError } from '../model/errors.ts';
import type { FactArguments, FactsFor, FileFact, UnitFact } from '../model/facts.ts';
import type { Finding, Operation, Plan } from '../model/operation.ts';
import type { CodeOffer, ReleaseFact, ReleaseQuery } from '../model/release.ts';
import { bytes, type Seconds, type Sha256, seconds, sha256Text } from '../model/units.ts';
import { formatBytes, formatDuration } from '../report/quantities.ts';
import { isExpanded } from '../systemd/exec-line.ts';
import { redactUnit } from '../systemd/secrets.ts';
import type { UnitContext } from '../systemd/unit-rules.ts';
import type { UnitPart } from '../systemd/unit-stack.ts';
import { microseconds } from '../systemd/values.ts';
import { ownDropIns } from './drop-in.ts';
import { type ByTheApp, planLeftovers } from './leftovers.ts';
import { describePast } from './past.ts';
import { planRelease, type ReleasePlan, type Trial } from './release.ts';
import { unifiedDiff } from './text-diff.ts';
import { stopMarginSeconds } from './unit-settings.ts';
import {
  appOf,
  countChildren,
  extendWorkerUnit,
  rewriteWorkerUnit,
  type UnitSource,
  type WorkerUnit,
} from './worker-unit.ts';

export interface DeployWorkerQuery {
  readonly host: Record<string, never>;
  readonly unit: { readonly name: string; readonly exposure: boolean };
  readonly workers: Record<string, never>;
  readonly swap: { readonly path: string };
  readonly code: { readonly unit: string };
  readonly files: { readonly paths: readonly string[] };
  readonly transactions: { readonly unit: string };
  readonly release: ReleaseQuery;
  readonly stores: FactArguments['stores'];
}

export type DeployWorkerFacts = FactsFor<Omit<DeployWorkerQuery, 'release'>> & {
  readonly release?: ReleaseFact;
};

/** What must be known of the host before its worker can be planned. */
export function deployWorkerQuery(desired: DeployWorkerDesired): DeployWorkerQuery {
  return {
    host: {},
    unit: { name: desired.unit, exposure: desired.hardening !== 'off' },
    workers: {},
    swap: { path: '/swapfile' },
    code: { unit: desired.unit },
    files: { paths: [supportPath(desired), ...ownDropIns(desired.unit)] },
    transactions: { unit: desired.unit },
    release: releaseQuery(desired),
    stores: storesQuery(desired),
  };
}

function releaseQuery({ unit, release }: DeployWorkerDesired): ReleaseQuery {
  const from = release?.from;
  return {
    unit,
    source: from?.source ?? 'none',
    checkout: from?.source === 'git' ? from.checkout : null,
    deployTo: from?.source === 'upload' ? from.deployTo : null,
  };
}

/** Only who wants jobs settled pays for looking for them. */
function storesQuery({ orphanedJobs, unit }: DeployWorkerDesired): DeployWorkerQuery['stores'] {
  const { action, database } = orphanedJobs;
  if (action === 'leave') return { unit, databases: [] };
  return queryStores(unit, database === null ? null : [database]);
}

/**
 * What brings the host to this worker: the app tried and the unit checked before anything changes,
 * the new definition in force before the old worker is stopped (so that its tasks may end), strays
 * ended while nothing consumes, a start, and the proof. New code is prepared before all that, and put
 * in place right before the stop: until then the old worker may import from what is there.
 *
 * @param offer what the run brings of the code; `null`: nothing
 * @throws ConfigError when the unit can't be read or must not be edited, or the wishes contradict
 */
export function planDeployWorker(
  facts: DeployWorkerFacts,
  desired: DeployWorkerDesired,
  offer: CodeOffer | null = null,
): Plan {
  checkDesired(desired);
  const source = readSource(facts, desired);
  const swapActive = facts.swap.active.length > 0 || facts.host.memory.swapTotalBytes > 0;
  const change = source.mode === 'rewrite' ? rewriteWorkerUnit : extendWorkerUnit;
  const unit = change(source, desired, unitContext(facts, swapActive, desired));
  const app = requireApp(unit.line, source.path, desired);
  const workingDirectory =
    unit.line.call.workingDirectory ?? facts.unit.properties.WorkingDirectory ?? '';
  const strays = findStrays(facts.workers, {
    unit: desired.unit,
    controlGroup: facts.unit.properties.ControlGroup ?? '',
    app,
    workingDirectory,
  });
  const code = planRelease(facts.release, desired.release, offer, {
    unit: desired.unit,
    workingDirectory,
    interpreter: interpreterFor(unit.line, facts.unit),
  });
  const known = knownProperties(unit, facts.unit);
  const install = planInstall(source, unit, facts, desired);
  const support = planSupport(facts.files[supportPath(desired)], desired);
  const enable = planEnable(facts.unit, unit, desired);
  const reasons = listRestartReasons(facts, desired, unit, known, {
    unit: install?.rewritten ?? false,
    support: support !== null,
    release: code,
  });
  const endings = endStrays(strays.strays, desired.strays.graceSeconds);
  const restart = reasons.length > 0;

  const own = byTheApp(unit, facts.unit, app, desired);
  const leftovers = planLeftovers(own, facts.stores, desired);
  const trial = tryApp(own, desired, code.trial);

  const operations: Operation[] = [];
  if (restart) {
    if (code.trial.when === 'first') operations.push(trial);
    if (install?.rewritten) operations.push(verifyUnit(source, unit, desired));
    // Undone last, so that the worker comes back to the code and the dependencies that it had.
    operations.push(guardUnit(own), ...code.prepare);
    if (code.trial.when === 'prepared') operations.push(trial);
    if (support) operations.push(support);
    if (install) operations.push(...install.operations);
  }
  if (enable) operations.push(enable);
  if (restart && facts.unit.activeState === 'active') operations.push(drainWorker(own, desired));
  operations.push(...code.inPlace);
  if (code.trial.when === 'in-place') operations.push(trial);
  if (restart && !isAtRest(facts.unit)) operations.push(stopUnit(own, unit, reasons, desired));
  operations.push(...endings);
  if (restart) operations.push(...leftovers.beforeStart);
  operations.push(...code.swap);
  if (restart) operations.push(startUnit(own, unit, reasons, desired));
  if (restart || endings.length > 0) {
    operations.push(proveUnit(unit, known, facts, desired));
  }
  if (restart) operations.push(...leftovers.afterProof);
  operations.push(...code.finish);
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
    }).concat(code.satisfied),
    findings: [
      ...describeMode(source, desired),
      ...unit.findings,
      ...code.findings,
      ...describeMemory(facts, desired),
      ...describeLeftAlone(strays),
      ...leftovers.findings,
      ...describeHost(facts, desired, unit),
      ...describePast(facts.transactions),
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

/** What install-unit leaves until the start, and an interrupted run for the next one to undo. */
const heldLimits = '/zzz-celeriac-until-start.conf';

interface Source extends UnitSource {
  readonly mode: DeployWorkerDesired['unitMode'];
  /** Where a rewritten text goes: always below /etc. */
  readonly target: string;
  readonly expects: Sha256 | null;
}

const administrators = '/etc/systemd/system';
const vendors = ['/lib/systemd/system', '/usr/lib/systemd/system', '/usr/local/lib/systemd/system'];

function readSource(facts: DeployWorkerFacts, desired: DeployWorkerDesired): Source {
  const { unit } = facts;
  const { fragment, fragmentPath: path } = unit;
  const refuse = (problem: string, expected: string): never => {
    throw new ConfigError('input unit', problem, expected);
  };
  const name = desired.unit;
  if (name.includes('@.')) {
    return refuse(
      `${name} is a template, and nothing runs by that name`,
      `one of its instances, such as ${name.replace('@.', '@1.')}`,
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
  // Every instance shares its template: each is changed by a drop-in of its own.
  const isInstance = file === name.replace(/@.*(?=\.service$)/, '@') && file !== name;
  if (file !== name && !isInstance) {
    return refuse(`${name} is another name of ${file}`, file);
  }
  const mode = isInstance ? 'drop-in' : desired.unitMode;
  const isVendors = vendors.includes(folder);
  if (mode === 'rewrite' && folder !== administrators && !isVendors) {
    return refuse(
      `${path} is generated or linked from elsewhere`,
      `a unit file in ${administrators} or ${vendors.join(', ')}, or \`unit-mode: drop-in\``,
    );
  }
  const ownPaths = ownDropIns(name);
  return {
    mode,
    path,
    text: fragment.text,
    dropIns: unit.dropIns.filter(
      ({ path: other }) => !ownPaths.includes(other) && !other.endsWith(heldLimits),
    ),
    own: ownPaths.flatMap((one) => {
      const found = facts.files[one];
      if (found === undefined || found.kind === 'absent') return [];
      if (found.kind !== 'file' || found.text === null) {
        return refuse(`${one} is not a regular text file`, 'no such file: Celeriac writes it');
      }
      return [{ path: one, text: found.text }];
    }),
    ownPaths,
    workingDirectory: unit.properties.WorkingDirectory ?? '',
    target: `${administrators}/${name}`,
    expects: isVendors ? null : fragment.sha256,
  };
}

/** What the rules for units must know of the host. */
function unitContext(
  { host, unit }: DeployWorkerFacts,
  swapActive: boolean,
  desired: DeployWorkerDesired,
): UnitContext {
  const main = unit.processes.find(({ pid }) => pid === unit.mainPid);
  const children = unit.processes.filter(({ pid }) => pid !== unit.mainPid);
  const largest = Math.max(0, ...children.map(({ residentBytes }) => residentBytes));
  return {
    swapActive,
    longestTaskSeconds: desired.longestTaskSeconds,
    cpus: host.cpus,
    hostMemoryBytes: host.memory.totalBytes,
    processes: main ? { mainBytes: main.residentBytes, childBytes: bytes(largest) } : null,
  };
}

function describeMode(source: Source, desired: DeployWorkerDesired): readonly Finding[] {
  if (source.mode === desired.unitMode) return [];
  return [
    {
      level: 'notice',
      message: `${desired.unit} is an instance of ${source.path}, which other instances share: it is changed by a drop-in of its own`,
    },
  ];
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
  readonly operations: readonly Operation[];
  /** False when systemd only has to read the text that is there. */
  readonly rewritten: boolean;
}

function planInstall(
  source: Source,
  unit: WorkerUnit,
  { unit: fact, files }: DeployWorkerFacts,
  desired: DeployWorkerDesired,
): Install | null {
  const removed = source.own
    .filter(({ path }) => path !== unit.dropIn?.path)
    .map((part) => removeDropIn(part, files[part.path], source));
  const written = planText(source, unit, files, desired);
  if (written) return { rewritten: true, operations: [...removed, written] };
  const rewritten = removed.length > 0;
  const unread =
    unit.dropIn !== null && !fact.dropIns.some(({ path }) => path === unit.dropIn?.path);
  if (!rewritten && !fact.needDaemonReload && !unread) return null;
  // What is not rewritten is only read again.
  const { path, text, file } =
    unread && unit.dropIn
      ? { ...unit.dropIn, file: files[unit.dropIn.path] }
      : { path: source.path, text: source.text, file: fact.fragment };
  const install: Operation = {
    op: 'install-unit',
    unit: desired.unit,
    path,
    text,
    expects: fileHash(file),
    title: `have systemd read ${path} again`,
    why: rewritten ? 'a drop-in of it is gone' : 'it changed after systemd read it',
  };
  return { rewritten, operations: [...removed, install] };
}

/** The text that has to be written: of the unit file, or of the drop-in. */
function planText(
  source: Source,
  unit: WorkerUnit,
  files: DeployWorkerFacts['files'],
  desired: DeployWorkerDesired,
): Operation | null {
  const why = unit.changes.join(', ') || 'its text is of another version';
  if (unit.dropIn !== null) {
    const { path, text } = unit.dropIn;
    const before = source.own.find((part) => part.path === path)?.text ?? null;
    if (before === text) return null;
    return {
      op: 'install-unit',
      unit: desired.unit,
      path,
      text,
      expects: fileHash(files[path]),
      title: `install ${path}`,
      why,
      diff: unitDiff(path, before, text),
    };
  }
  if (unit.text === source.text) return null;
  const copied = source.target !== source.path;
  const place = copied
    ? ` (a copy of ${source.path}, which packages may overwrite, and which this one beats)`
    : '';
  return {
    op: 'install-unit',
    unit: desired.unit,
    path: source.target,
    text: unit.text,
    expects: source.expects,
    title: `install ${source.target}`,
    why: why + place,
    diff: unitDiff(source.target, source.text, unit.text),
  };
}

function removeDropIn(part: UnitPart, file: FileFact | undefined, source: Source): Operation {
  return {
    op: 'remove-file',
    path: part.path,
    expects: fileHash(file) ?? sha256Text(''),
    title: `remove ${part.path}`,
    why:
      source.mode === 'rewrite'
        ? `what it says is written into ${source.target}`
        : 'the unit needs no drop-in by this name',
    diff: unitDiff(part.path, part.text, null),
  };
}

const unitDiff = (path: string, before: string | null, after: string | null): string =>
  unifiedDiff(path, before && redactUnit(before), after && redactUnit(after));

const fileHash = (file: FileFact | undefined): Sha256 | null =>
  file?.kind === 'file' ? file.sha256 : null;

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
  changes: {
    readonly unit: boolean;
    readonly support: boolean;
    readonly release: ReleasePlan;
  },
): readonly string[] {
  const { unit: fact, code } = facts;
  const reasons: string[] = [];
  if (fact.activeState !== 'active') {
    const { activeState, subState } = fact;
    reasons.push(`it is ${activeState}${activeState === subState ? '' : ` (${subState})`}`);
  }
  if (changes.unit) reasons.push('its unit changes');
  else if (fact.needDaemonReload) reasons.push('systemd has not read its unit as it is now');
  else {
    const differing = Object.entries(known)
      .filter(([name, value]) => fact.properties[name] !== value)
      .map(([name, value]) => `${name} is ${fact.properties[name]}, not ${value}`);
    reasons.push(...differing);
    reasons.push(...whyRunningDiffers(fact, unit.line));
  }
  if (changes.support) reasons.push('its support module changes');
  reasons.push(...changes.release.reasons);
  const { newest } = code;
  if (newest !== null && fact.activeSince !== null && newest.modified > fact.activeSince) {
    reasons.push(`${newest.path} is newer than the worker`);
  }
  if (reasons.length === 0 && desired.restartPolicy === 'always') reasons.push('it is asked for');
  return reasons;
}

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

function tryApp(own: ByTheApp, desired: DeployWorkerDesired, trial: Trial): Operation {
  const instead = trial.when === 'prepared' ? trial.instead : null;
  return {
    op: 'try-app',
    ...own,
    ...(instead !== null && { instead }),
    timeoutSeconds: desired.startTimeoutSeconds,
    title: `import ${own.app}${instead === null ? '' : ` of ${instead.to}`} as the worker would`,
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

function verifyUnit(source: Source, unit: WorkerUnit, desired: DeployWorkerDesired): Operation {
  const names = (path: string): string => path.slice(path.lastIndexOf('/') + 1);
  const gone = source.own.filter(({ path }) => path !== unit.dropIn?.path);
  // An empty one stands for a drop-in that goes.
  const dropIns = [
    ...gone.map(({ path }) => ({ name: names(path), text: '' })),
    ...(unit.dropIn ? [{ name: names(unit.dropIn.path), text: unit.dropIn.text }] : []),
  ];
  return {
    op: 'verify-unit',
    unit: desired.unit,
    text: unit.text,
    ...(dropIns.length > 0 && { dropIns }),
    title: `have systemd check the new ${desired.unit}`,
    why: 'what it only warns of would not be in force',
  };
}

function guardUnit(own: ByTheApp): Operation {
  return {
    op: 'guard-unit',
    ...own,
    title: `remember how ${own.unit} runs now`,
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
  own: ByTheApp,
  unit: WorkerUnit,
  reasons: readonly string[],
  desired: DeployWorkerDesired,
): Operation {
  return {
    op: 'stop-unit',
    ...own,
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
  own: ByTheApp,
  unit: WorkerUnit,
  reasons: readonly string[],
  desired: DeployWorkerDesired,
): Operation {
  return {
    op: 'start-unit',
    ...own,
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
    ...(desired.hardening !== 'off' && { exposure: { before: facts.unit.exposure ?? null } }),
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
  const { fragmentPath, unitFileState, exposure } = facts.unit;
  if (!install) {
    const by = unit.dropIn === null ? '' : ` with ${unit.dropIn.path}`;
    lines.push(`unit: ${fragmentPath}${by} as asked${describeLimits(unit)}`);
    if (desired.hardening !== 'off') {
      const told = exposure == null ? '' : `, exposure ${exposure} (systemd-analyze security)`;
      lines.push(`hardening: ${desired.hardening}${told}`);
    }
  }
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

/** A limit above all there is. Whether the children fit below it is a rule for units. */
function describeMemory(
  facts: DeployWorkerFacts,
  desired: DeployWorkerDesired,
): readonly Finding[] {
  const { memoryMaxBytes } = desired;
  const { totalBytes } = facts.host.memory;
  if (memoryMaxBytes === null || memoryMaxBytes <= totalBytes) return [];
  return [
    {
      level: 'warning',
      message: `memory-max ${formatBytes(memoryMaxBytes)} is more than the host has (${formatBytes(totalBytes)}): it will never limit anything`,
    },
  ];
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
  return findings;
}
