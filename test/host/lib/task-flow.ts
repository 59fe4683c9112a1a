import type { Machine } from '../../../sandbox/machine.ts';
import { type BundleRun, runBundle } from '../../lib/bundle.ts';
import { type Inputs, inputsFor, taskListLimits } from './inputs.ts';
import { BACKEND, DATABASE, readRows, shell, waitUntil } from './worker.ts';

/** What happens to the release of one deploy. */
export const KINDS = ['good', 'import-fails', 'gate-fails'] as const;
export type Kind = (typeof KINDS)[number];

/** What the tasks and their sender write: a folder of its own, which may be a disk of its own. */
export const NUMBERED = '/var/tmp/numbered';
const LOG = `${NUMBERED}/log`;
const SENT = `${NUMBERED}/sent`;
const HALT = `${NUMBERED}/halt`;

/**
 * The app's module with tasks of both kinds that say when they begin and end, and which release of
 * the code and of its dependency they are; they keep a row like any job.
 */
export const numberedTasks = (release: string): string => `
import os, time
import store
from celery_app import celery_app
try:
    from probe_package import VERSION
except ImportError:
    VERSION = 'none'

RELEASE = '${release}'

def note(event, number):
    handle = os.open('${LOG}', os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(handle, ('%s %s %s %s\\n' % (event, number, RELEASE, VERSION)).encode())
    os.close(handle)

def run(task, number, seconds):
    job = task.request.id
    note('begun', number)
    store.add_job(job)
    store.start('jobs', job, job)
    time.sleep(seconds)
    store.finish('jobs', job, 'completed')
    note('done', number)

@celery_app.task(bind=True, acks_late=False, name='numbered.early')
def early(self, number, seconds):
    run(self, number, seconds)

@celery_app.task(bind=True, acks_late=True, name='numbered.late')
def late(self, number, seconds):
    run(self, number, seconds)
`;

/** The app imports it, so that its workers know the tasks. */
export const IMPORTS_NUMBERED = "imports = ('numbered',)\n";

/** Sends them at an even pace, in turns of both kinds. A broker that is away gets them later. */
const FEED = `
import os, sys, time, uuid
sys.path.insert(0, '${BACKEND}')
import numbered
first, count, pace = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
begun, number = time.monotonic(), first
while number < count and not os.path.exists('${HALT}'):
    task = numbered.late if number % 2 else numbered.early
    # Now and then a long one: there is always something to lose.
    seconds = 4.0 if number % 40 == 7 else 0.05
    try:
        ident = str(uuid.UUID(int=number))
        task.apply_async((number, seconds), queue='celery', task_id=ident)
    except Exception as error:
        print(number, error, file=sys.stderr)
        time.sleep(0.2)
        continue
    number += 1
    with open('${SENT}.new', 'w') as file:
        file.write(str(number))
    os.rename('${SENT}.new', '${SENT}')
    time.sleep(max(0.0, begun + (number - first) / pace - time.monotonic()))
`;

export interface Balance {
  readonly sent: number;
  readonly done: number;
  /** Numbers of tasks that began and never ended, or never began. */
  readonly lost: readonly number[];
  /** Numbers of early-ack tasks that began more than once. */
  readonly repeatedEarly: readonly number[];
  readonly repeatedLate: readonly number[];
  /** Rows that still say that somebody works on them. */
  readonly processing: number;
}

/** Gives the app of a healthy machine its numbered tasks, and a worker that knows them. */
export async function prepareFlow(machine: Machine): Promise<void> {
  await machine.writeFile(`${BACKEND}/numbered.py`, numberedTasks('0'));
  await shell(machine, `cat <<'END' >>${BACKEND}/celery_config.py\n${IMPORTS_NUMBERED}END`);
  await prepareFeed(machine);
}

/** The sender, where the app has its numbered tasks already. */
export async function prepareFeed(machine: Machine): Promise<void> {
  await machine.writeFile('/root/feed.py', FEED);
  await shell(machine, `mkdir -p ${NUMBERED}`);
}

/** Begins to send; returns at once. `pace`: tasks a second. */
export async function beginFlow(machine: Machine, count: number, pace: number): Promise<void> {
  await shell(machine, `rm -f ${LOG} ${SENT}`);
  await feed(machine, 0, count, pace);
}

const feed = (machine: Machine, first: number, count: number, pace: number): Promise<string> =>
  shell(
    machine,
    `rm -f ${HALT}; systemd-run -q --collect --unit=feed --working-directory=${BACKEND} python3 /root/feed.py ${first} ${count} ${pace}`,
  );

/** Goes on to send after the sender was ended with its host. */
export async function resumeFlow(machine: Machine, count: number, pace: number): Promise<void> {
  await feed(machine, await readSent(machine), count, pace);
}

/** Ends the sender; how many it has sent: numbers 0 to that. */
export async function haltFlow(machine: Machine): Promise<number> {
  await shell(machine, `touch ${HALT}`);
  const isOver = async () =>
    (await shell(machine, 'systemctl is-active feed || true')) !== 'active';
  await waitUntil('the sender has ended', isOver, 60);
  return await readSent(machine);
}

export const readSent = async (machine: Machine): Promise<number> =>
  Number(await shell(machine, `cat ${SENT} 2>/dev/null || echo 0`));

/** A line of the tasks' log: one of them began, or was done. */
export interface Note {
  readonly event: string;
  readonly number: number;
  /** Of the code that ran it. */
  readonly release: string;
  /** Of the dependency that this code had. */
  readonly version: string;
}

export async function readNotes(machine: Machine): Promise<readonly Note[]> {
  const lines = (await shell(machine, `cat ${LOG} 2>/dev/null || true`)).split('\n');
  return lines.map((line) => {
    const [event = '', number, release = '', version = ''] = line.split(' ');
    return { event, number: Number(number), release, version };
  });
}

/** Waits until all are sent and done, then strikes the balance. */
export async function endFlow(machine: Machine, count: number, seconds: number): Promise<Balance> {
  const sentAll = async () => (await readSent(machine)) === count;
  await waitUntil('all tasks are sent', sentAll, seconds);
  const doneAll = async () => (await strike(machine, count)).lost.length === 0;
  // What is lost never comes: the balance tells.
  await waitUntil('all tasks are done', doneAll, seconds).catch(() => {});
  return await strike(machine, count);
}

async function strike(machine: Machine, sent: number): Promise<Balance> {
  const begun = new Map<number, number>();
  const done = new Set<number>();
  for (const { event, number } of await readNotes(machine)) {
    if (event === 'begun') begun.set(number, (begun.get(number) ?? 0) + 1);
    if (event === 'done') done.add(number);
  }
  const numbers = Array.from({ length: sent }, (_, number) => number);
  const repeated = numbers.filter((number) => (begun.get(number) ?? 0) > 1);
  const { jobs = [] } = await readRows(machine, DATABASE);
  return {
    sent,
    done: done.size,
    lost: numbers.filter((number) => !done.has(number)),
    repeatedEarly: repeated.filter((number) => number % 2 === 0),
    repeatedLate: repeated.filter((number) => number % 2 === 1),
    processing: jobs.filter(({ status }) => status === 'processing').length,
  };
}

/** Which of them end with a rollback of a worker that was at work. */
export const rollsBack = (kind: Kind | BackKind): boolean =>
  kind === 'gate-fails' || kind === 'expires' || kind === 'rolled-back';

/** Releases that are good, and put back: by the host, as nobody confirms them; or on request. */
export type BackKind = 'expires' | 'rolled-back';

/** One deploy of this kind, by the bundles, as deploy.yml would; throws when it ends otherwise. */
export async function deployOnce(
  machine: Machine,
  kind: Kind | BackKind,
  turn: number,
  common: Inputs = {},
): Promise<void> {
  const inputs = (more: Inputs) => inputsFor(machine, more);
  const deploy = (more: Inputs = {}) =>
    runBundle(
      'deploy-worker',
      inputs({
        ...taskListLimits,
        'min-healthy-time': '3s',
        // Something changes every time.
        'memory-max': `${700 + turn}M`,
        'longest-task': '60s',
        ...common,
        ...more,
      }),
    );
  if (kind === 'expires') {
    const expiring = require(await deploy({ 'confirm-within': '1s' }), 0, 'transaction');
    const { transaction = '' } = expiring.outputs;
    const journal = `/var/lib/celeriac/transactions/${transaction}/journal.jsonl`;
    const isBack = async () =>
      (await shell(machine, `grep -c '"result": "undone"' ${journal} || true`)) === '1';
    await waitUntil('the host has put the release back', isBack, 300);
    return;
  }
  if (kind === 'import-fails') {
    const app = `${BACKEND}/celery_app.py`;
    await shell(machine, `cp -p ${app} /root/kept.py; echo 'import no_such_module' >>${app}`);
    try {
      require(await deploy(), 1, 'does not import');
    } finally {
      await shell(machine, `mv /root/kept.py ${app}`);
    }
    return;
  }
  const released = require(await deploy(), 0, 'transaction');
  const gate: Inputs =
    kind !== 'gate-fails'
      ? // Tasks that stand before the canary take what they take.
        { gate: 'canary', 'gate-timeout': '10m' }
      : { gate: 'task', 'gate-task': 'tasks.process_job', 'gate-args': '[null, 0, 0, "error"]' };
  const verify = await runBundle('verify', inputs(gate));
  if (kind === 'gate-fails') require(verify, 1, 'did not succeed');
  else require(verify, 0, 'Confirmed: transaction');
  if (kind === 'good') return;
  const back = { 'roll-back': released.outputs.transaction ?? '' };
  require(await deploy(back), 0, 'Undone: ');
}

function require(run: BundleRun, code: number, says: string): BundleRun {
  if (run.code !== code || !run.log.includes(says)) {
    throw new Error(`expected exit ${code} and "${says}":\n${run.log}`);
  }
  return run;
}
