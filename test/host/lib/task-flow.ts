import type { Machine } from '../../../sandbox/machine.ts';
import { type BundleRun, runBundle } from '../../lib/bundle.ts';
import { type Inputs, inputsFor } from './inputs.ts';
import { BACKEND, DATABASE, readRows, shell, waitUntil } from './worker.ts';

/** What happens to the release of one deploy. */
export const KINDS = ['good', 'import-fails', 'gate-fails'] as const;
export type Kind = (typeof KINDS)[number];

const LOG = '/var/tmp/numbered.log';
const SENT = '/var/tmp/numbered.sent';
const HALT = '/var/tmp/numbered.halt';

/** Tasks of both kinds that say when they begin and end, and keep a row like any job. */
const TASKS = `
import os, time
import store
from celery_app import celery_app

def note(event, number):
    handle = os.open('${LOG}', os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(handle, ('%s %s\\n' % (event, number)).encode())
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

/** Sends them at an even pace, in turns of both kinds. */
const FEED = `
import os, sys, time
sys.path.insert(0, '${BACKEND}')
import numbered
count, pace = int(sys.argv[1]), float(sys.argv[2])
begun, number = time.monotonic(), 0
while number < count and not os.path.exists('${HALT}'):
    task = numbered.late if number % 2 else numbered.early
    # Now and then a long one: there is always something to lose.
    task.apply_async((number, 4.0 if number % 40 == 7 else 0.05), queue='celery')
    number += 1
    with open('${SENT}', 'w') as file:
        file.write(str(number))
    time.sleep(max(0.0, begun + number / pace - time.monotonic()))
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
  await machine.writeFile(`${BACKEND}/numbered.py`, TASKS);
  await machine.writeFile('/root/feed.py', FEED);
  await shell(machine, `echo "imports = ('numbered',)" >>${BACKEND}/celery_config.py`);
}

/** Begins to send; returns at once. `pace`: tasks a second. */
export async function beginFlow(machine: Machine, count: number, pace: number): Promise<void> {
  await shell(
    machine,
    `rm -f ${LOG} ${SENT} ${HALT}; systemd-run -q --collect --unit=feed --working-directory=${BACKEND} python3 /root/feed.py ${count} ${pace}`,
  );
}

/** Ends the sender; how many it has sent: numbers 0 to that. */
export async function haltFlow(machine: Machine): Promise<number> {
  await shell(machine, `touch ${HALT}`);
  const isOver = async () =>
    (await shell(machine, 'systemctl is-active feed || true')) !== 'active';
  await waitUntil('the sender has ended', isOver, 60);
  return Number(await shell(machine, `cat ${SENT}`));
}

/** Waits until all are sent and done, then strikes the balance. */
export async function endFlow(machine: Machine, count: number, seconds: number): Promise<Balance> {
  const sentAll = async () => (await shell(machine, `cat ${SENT} || true`)) === String(count);
  await waitUntil('all tasks are sent', sentAll, seconds);
  const doneAll = async () => (await strike(machine, count)).lost.length === 0;
  // What is lost never comes: the balance tells.
  await waitUntil('all tasks are done', doneAll, seconds).catch(() => {});
  return await strike(machine, count);
}

async function strike(machine: Machine, sent: number): Promise<Balance> {
  const lines = (await shell(machine, `cat ${LOG} 2>/dev/null || true`)).split('\n');
  const begun = new Map<number, number>();
  const done = new Set<number>();
  for (const line of lines) {
    const [event, text] = line.split(' ');
    const number = Number(text);
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

/** One deploy of this kind, by the bundles, as deploy.yml would; throws when it ends otherwise. */
export async function deployOnce(machine: Machine, kind: Kind, turn: number): Promise<void> {
  const inputs = (more: Inputs) => inputsFor(machine, more);
  const deploy = (more: Inputs = {}) =>
    runBundle(
      'deploy-worker',
      inputs({
        'min-healthy-time': '3s',
        // Something changes every time.
        'memory-max': `${700 + turn}M`,
        'longest-task': '60s',
        ...more,
      }),
    );
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
    kind === 'good'
      ? { gate: 'canary', 'gate-timeout': '2m' }
      : { gate: 'task', 'gate-task': 'tasks.process_job', 'gate-args': '[null, 0, 0, "error"]' };
  const verify = await runBundle('verify', inputs(gate));
  if (kind === 'good') {
    require(verify, 0, 'Confirmed: transaction');
    return;
  }
  require(verify, 1, 'did not succeed');
  const back = { 'roll-back': released.outputs.transaction ?? '' };
  require(await deploy(back), 0, 'Put back');
}

function require(run: BundleRun, code: number, says: string): BundleRun {
  if (run.code !== code || !run.log.includes(says)) {
    throw new Error(`expected exit ${code} and "${says}":\n${run.log}`);
  }
  return run;
}
