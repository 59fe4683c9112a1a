import { type CeleryCall, findCeleryCall } from '../../celery/celery-call.ts';
import { ownerOf } from '../../celery/strays.ts';
import { type WorkerCall, workerCallOf } from '../../celery/worker-call.ts';
import { workerLineOf } from '../../celery/worker-line.ts';
import { unitName } from '../../config/input.ts';
import type { StartFact, WorkerProcess } from '../../model/facts/beside.ts';
import type { UnitFact } from '../../model/facts/unit.ts';
import type { FactAnswers } from '../../model/facts.ts';

/** What started a worker that no unit of its own runs. */
export type Starter =
  | { readonly kind: 'login' }
  | { readonly kind: 'terminal'; readonly program: 'screen' | 'tmux' }
  | { readonly kind: 'cron' }
  | { readonly kind: 'rc-local' }
  | { readonly kind: 'supervisor' }
  /** A service whose command is not that of a worker: a script, or a manager of processes. */
  | { readonly kind: 'service'; readonly unit: string }
  /** A service of a user's own systemd. */
  | { readonly kind: 'user-service'; readonly unit: string; readonly user: string };

/** A worker that a unit runs. */
export interface UnitWorker {
  readonly kind: 'unit';
  readonly unit: UnitFact;
  readonly call: WorkerCall;
}

/** A worker that runs without a unit of its own. */
export interface LooseWorker {
  readonly kind: 'process';
  readonly process: WorkerProcess;
  readonly call: CeleryCall;
  /** `null`: it has ended meanwhile. */
  readonly start: StartFact | null;
  readonly starter: Starter;
}

export type FoundWorker = UnitWorker | LooseWorker;

export interface FoundWorkers {
  readonly units: readonly UnitWorker[];
  readonly processes: readonly LooseWorker[];
  /** Workers for which nothing can be proposed, each with the reason. */
  readonly others: readonly OtherWorker[];
}

export interface OtherWorker {
  /** `process 70`, or its unit. */
  readonly name: string;
  readonly reason: string;
}

type Facts = Pick<FactAnswers, 'host' | 'workers' | 'starts'> & {
  readonly units: readonly UnitFact[];
};

/** Names of the services to look at: their command mentions Celery, or a worker runs in them. */
export const unitsToLookAt = ({
  services,
  workers,
}: Pick<FactAnswers, 'services' | 'workers'>): readonly string[] => [
  ...new Set([
    ...services.map(({ unit }) => unit),
    ...workers.flatMap(({ cgroup }) => {
      const owner = ownerOf(cgroup);
      return owner !== null && unitName.test(owner) ? [owner] : [];
    }),
  ]),
];

/** The main process of each worker: children have the arguments of their parent. */
export function mainWorkers(workers: readonly WorkerProcess[]): readonly WorkerProcess[] {
  const living = workers.filter(({ state }) => state !== 'Z' && state !== 'X');
  const pids = new Set(living.map(({ pid }) => pid));
  return living
    .filter(({ parentPid }) => !pids.has(parentPid))
    .sort((one, other) => one.startTicks - other.startTicks || one.pid - other.pid);
}

/** Sorts the workers of a host: those of units, those without one, and those of others. */
export function findWorkers({ host, workers, starts, units }: Facts): FoundWorkers {
  const others: OtherWorker[] = [];
  const mains = mainWorkers(workers);
  const found = units.flatMap((unit): readonly UnitWorker[] => {
    if (unit.loadState !== 'loaded') return [];
    const call = workerCallOf(unit, host.cpus);
    if (call === null) return [];
    // Only its process shows what a script starts: a deploy would refuse the unit, so one is proposed.
    if (workerLineOf(unit) === null && mains.some(({ pid }) => pid === unit.mainPid)) return [];
    if (unitName.test(unit.name)) return [{ kind: 'unit', unit, call }];
    others.push({ name: `unit ${JSON.stringify(unit.name)}`, reason: notTaken });
    return [];
  });
  const names = new Set(found.map(({ unit }) => unit.name));
  const processes: LooseWorker[] = [];
  for (const process of mains) {
    const owner = ownerOf(process.cgroup);
    if (owner !== null && names.has(owner)) continue;
    const start = starts.find(({ pid }) => pid === process.pid) ?? null;
    const read = readLoose(process, start, owner);
    if ('reason' in read) others.push({ name: `process ${process.pid}`, reason: read.reason });
    else processes.push(read);
  }
  return { units: found, processes, others };
}

/** Commands to paste contain the name, and no input takes another one. */
const notTaken = 'the name of its service contains characters that Celeriac does not accept';

function readLoose(
  process: WorkerProcess,
  start: StartFact | null,
  owner: string | null,
): LooseWorker | { readonly reason: string } {
  if (owner?.startsWith('a container') === true) {
    return { reason: `it runs in ${owner}, and Celeriac manages workers of the host itself` };
  }
  const found = findCeleryCall(process.argv);
  if (found.kind === 'refused') {
    return { reason: `its command line does not show how it was started: it ${found.problem}` };
  }
  const starter = starterOf(process, start, owner);
  if ('unit' in starter && !unitName.test(starter.unit)) return { reason: notTaken };
  return { kind: 'process', process, call: found.call, start, starter };
}

const terminals = { tmux: /^tmux/, screen: /^screen$/i } as const;

function starterOf(
  { cgroup }: WorkerProcess,
  start: StartFact | null,
  owner: string | null,
): Starter {
  const above = start?.above.map(({ name }) => name) ?? [];
  if (above.includes('supervisord')) return { kind: 'supervisor' };
  const [, unit = '', user = ''] =
    /^(\S+\.service) of user@(\d+)\.service$/.exec(owner ?? '') ?? [];
  if (unit !== '') return { kind: 'user-service', unit, user };
  if (owner !== null) return { kind: 'service', unit: owner };
  for (const program of ['tmux', 'screen'] as const) {
    if (above.some((name) => terminals[program].test(name))) return { kind: 'terminal', program };
  }
  const parts = cgroup.split('/');
  if (parts.some((part) => /^crond?\.service$/.test(part))) return { kind: 'cron' };
  if (parts.includes('rc-local.service')) return { kind: 'rc-local' };
  return { kind: 'login' };
}

export type Choice =
  | { readonly kind: 'chosen'; readonly worker: FoundWorker }
  /** Several, and nothing shows which is meant. */
  | { readonly kind: 'open'; readonly workers: readonly FoundWorker[] }
  | { readonly kind: 'none' };

/**
 * The worker to deploy, if the host shows it: a unit that runs or starts at boot rather than a process.
 * A unit that does neither may be what the process beside it has replaced.
 */
export function chooseWorker({ units, processes }: FoundWorkers): Choice {
  const inUse = units.filter(
    ({ unit }) => unit.activeState === 'active' || unit.unitFileState === 'enabled',
  );
  const oneOfEach = processes.filter(
    (one, at) => processes.findIndex((other) => isSameApp(one, other)) === at,
  );
  for (const some of [inUse, [...units, ...oneOfEach]]) {
    const [first] = some;
    if (first === undefined) continue;
    return some.length === 1 ? { kind: 'chosen', worker: first } : { kind: 'open', workers: some };
  }
  return { kind: 'none' };
}

/** Forgotten copies of one worker are one worker, unless they serve other queues. */
const isSameApp = (one: LooseWorker, other: LooseWorker): boolean =>
  one.call.app === other.call.app &&
  one.process.user === other.process.user &&
  one.process.workingDirectory === other.process.workingDirectory &&
  String(one.call.queues) === String(other.call.queues);

/** It and its copies, which a unit for it replaces. */
export const copiesOf = (
  worker: LooseWorker,
  { processes }: FoundWorkers,
): readonly LooseWorker[] => processes.filter((other) => isSameApp(worker, other));

/** How `--worker` names it: its unit, or the number of its process. */
export const nameOf = (worker: FoundWorker): string =>
  worker.kind === 'unit' ? worker.unit.name : String(worker.process.pid);

/** One line for people. */
export function describeWorker(worker: FoundWorker): string {
  const app = worker.call.app ?? 'an app that its command does not name';
  if (worker.kind === 'unit') {
    const { name, activeState, unitFileState } = worker.unit;
    return `${name} (${app}; ${activeState}, ${unitFileState || 'no unit file'})`;
  }
  const { pid, user, workingDirectory } = worker.process;
  const where = workingDirectory === null ? '' : ` in ${workingDirectory}`;
  return `process ${pid} (${app}${where}, as ${user}; ${describeStarter(worker.starter)})`;
}

/** `started by cron`. */
export function describeStarter(starter: Starter): string {
  switch (starter.kind) {
    case 'login':
      return 'started from a login, as with nohup';
    case 'terminal':
      return `started in ${starter.program}`;
    case 'cron':
      return 'started by cron';
    case 'rc-local':
      return 'started by /etc/rc.local';
    case 'supervisor':
      return 'started by supervisord';
    case 'service':
      return `started by ${starter.unit}`;
    case 'user-service':
      return `started by ${starter.unit} of the systemd of user ${starter.user}`;
  }
}
