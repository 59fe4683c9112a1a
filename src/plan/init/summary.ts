import { appProcessOf } from '../../celery/app-process.ts';
import { appUserOf } from '../../celery/app-user.ts';
import type { HostFact, SwapFact } from '../../model/facts/host.ts';
import { formatBytes, formatCount, formatList } from '../../model/quantities.ts';
import { jobDatabases, openDatabases } from './database-lines.ts';
import { describeWorker, type FoundWorkers, type LooseWorker, nameOf } from './find-workers.ts';
import { besideWorker, type WorkerFacts } from './fleet-text.ts';
import type { UnitProposal } from './propose-unit.ts';

/** The host in one line. */
export function hostLine(host: HostFact, swap: SwapFact): string {
  const active = swap.active.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  return [
    host.os.name,
    `systemd ${host.systemd}`,
    `Python ${host.python}`,
    formatCount(host.cpus, 'CPU'),
    `${formatBytes(host.memory.totalBytes)} of memory`,
    active === 0 ? 'no swap' : `${formatBytes(active)} of swap`,
  ].join(', ');
}

/** What was found about the worker of a unit: a label and a value for each line. */
export function workerLines(facts: WorkerFacts): readonly (readonly [string, string])[] {
  const { unit, call } = facts.worker;
  const python = appProcessOf(unit);
  const { queues } = call;
  const beside = besideWorker(facts);
  const databases = jobDatabases(facts.stores);
  return [
    ['worker', `${unit.name}, ${unit.activeState}, ${unit.unitFileState || 'not enabled'}`],
    ['app', `${call.app ?? 'not named by the command'}, in ${call.workingDirectory}`],
    ['user', describeUser(appUserOf(unit))],
    ['python', python.kind === 'known' ? python.process.interpreter.join(' ') : 'not known'],
    [
      'queues',
      queues === 'default'
        ? 'those of the app (no -Q)'
        : queues === 'unknown'
          ? 'given by a variable'
          : queues.join(', '),
    ],
    ['jobs', databases.length === 0 ? whereNone(facts) : `tables in ${formatList(databases)}`],
    [
      'beside it',
      beside.length === 0
        ? 'nothing found'
        : beside.map((each) => `${each.unit} (${each.what})`).join(', '),
    ],
    ...facts.sizing.lines.map((line, at) => [at === 0 ? 'memory' : '', line] as const),
  ];
}

/** Without a table of jobs: what was found, and what is asked of the owner. */
function whereNone({ stores }: WorkerFacts): string {
  const open = openDatabases(stores).map(({ path }) => path);
  return open.length === 0
    ? 'no tables of jobs found'
    : `no table of ${formatList(open)} shows that it holds jobs: answer the question in .github/fleet.yml`;
}

/** Why it needs a unit of its own. */
const whyUnit = ({ starter }: LooseWorker): string =>
  starter.kind === 'service'
    ? 'that unit does not run the worker itself, so a deploy cannot change it'
    : 'no unit restarts it';

/** The same of a worker that runs without a unit. */
export function looseLines(
  worker: LooseWorker,
  { variables, notes }: UnitProposal,
): readonly (readonly [string, string])[] {
  return [
    ['worker', `${describeWorker(worker)}: ${whyUnit(worker)}`],
    ['app', `${worker.call.app}, in ${worker.process.workingDirectory}`],
    ['user', describeUser(worker.process.user)],
    ['queues', worker.call.queues?.join(', ') ?? 'those of the app (no -Q)'],
    ...(variables.length === 0
      ? []
      : [['variables', `${variables.join(', ')} (their values are not read)`] as const]),
    ...notes.map((note) => ['note', note] as const),
  ];
}

/** What the app's user can change, root would run. */
const describeUser = (user: string): string =>
  user === 'root' ? 'root; a user of its own would be safer (docs/how-to/harden.md)' : user;

/** Lines with their labels in a column. */
export const inColumns = (lines: readonly (readonly [string, string])[]): string =>
  lines.map(([label, text]) => `${label.padEnd(10)} ${text}\n`).join('');

/** Workers that are there besides the chosen one, for people. */
export function otherLines(
  { units, processes, others }: FoundWorkers,
  chosen: string,
): readonly string[] {
  const more = [...units, ...processes].filter((worker) => nameOf(worker) !== chosen);
  return [
    ...more.map((worker) => `also found: ${describeWorker(worker)}`),
    ...others.map(({ name, reason }) => `also found: ${name}: ${reason}`),
  ];
}
