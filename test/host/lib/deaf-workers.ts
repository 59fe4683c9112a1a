import { randomUUID } from 'node:crypto';
import type { Machine } from '../../../sandbox/machine.ts';
import { SUPPORT_FOLDER, startSupportedUnit, supportedUnit } from './units.ts';
import { shell, show, UNIT, waitUntil } from './worker.ts';

/** Tasks that note their number when they are done, and a command that makes the worker deaf. */
export const DEAF_CONTROLS = `
import time
from celery import bootsteps, shared_task, signals
from celery.worker.control import control_command

lasting = None


def done(number):
    with open('/tmp/done', 'a') as file:
        file.write('%d\\n' % number)


@shared_task(name='deaf.quick', ignore_result=True)
def quick(number):
    done(number)


@shared_task(name='deaf.limited', rate_limit='10/s', ignore_result=True)
def limited(number):
    done(number)


@shared_task(name='deaf.slow', ignore_result=True)
def slow(number, seconds):
    time.sleep(seconds)
    done(number)


def stop_polling(hub, cycle):
    for poll in list(hub.on_tick):
        if any(cell.cell_contents is cycle for cell in poll.__closure__ or ()):
            hub.on_tick.discard(poll)


def deafen(consumer, way):
    if consumer.connection.transport.driver_type == 'amqp':
        return deafen_amqp(consumer, way)
    hub, cycle = consumer.hub, consumer.connection.transport.cycle
    stop_polling(hub, cycle)
    for number in list(cycle.fds):
        hub.remove(number)
    if way != 'sockets':
        # What a registration cannot mend.
        for channel in list(cycle._channels):
            cycle.discard(channel)


def deafen_amqp(consumer, way):
    tasks = consumer.task_consumer
    if way == 'sockets':
        consumer.hub.remove(consumer.connection.connection.sock)
    else:
        # Behind Celery's back: it thinks that it consumes.
        for tag in list(tasks._active_tags.values()):
            tasks.channel.basic_cancel(tag)


class Deafness(bootsteps.StartStopStep):
    requires = ('celery.worker.consumer.connection:Connection',)

    def start(self, consumer):
        if lasting:
            # At once, and when it has its channels: it must take nothing of what waits.
            if consumer.connection.transport.driver_type == 'redis':
                stop_polling(consumer.hub, consumer.connection.transport.cycle)
            consumer.timer.call_after(0, deafen, (consumer, lasting))


@signals.worker_init.connect(weak=False)
def add(sender=None, **_):
    sender.app.steps['consumer'].add(Deafness)


@control_command(args=[('way', str)], signature='<way>')
def deaf_now(state, way='sockets'):
    global lasting
    lasting = way if way == 'lasting' else None
    state.consumer.timer.call_after(0.2, deafen, (state.consumer, way))
    return {'ok': way}
`;

/** How a worker is made deaf: each way needs more than the one before to hear again. */
export type Way = 'sockets' | 'channel' | 'lasting';

const queues = 'celery,batch,links,variations';
const redis = 'redis://127.0.0.1:6379/0';

/** Starts a worker that can be made deaf; `python`: runs its Celery. */
export async function startDeafWorker(
  machine: Machine,
  {
    watchdogSeconds,
    options = '--concurrency=2',
    python = '/usr/bin/python3',
    broker = redis,
  }: {
    readonly watchdogSeconds: number;
    readonly options?: string;
    readonly python?: string;
    /** Its broker; the host's Redis if not given. */
    readonly broker?: string;
  },
): Promise<void> {
  const service = `Restart=always\nRestartSec=1\nWatchdogSec=${watchdogSeconds}\n`;
  const unit = supportedUnit(queues, service)
    .replace('[Service]', `[Service]\nEnvironment=SLIDESHOW_BROKER=${broker}`)
    .replace('/usr/bin/celery', `${python} -m celery --result-backend=disabled://`)
    .replace('-I celeriac_support', '-I celeriac_support,deaf_controls')
    .replace('--concurrency=1', options);
  await machine.run(`mkdir -p ${SUPPORT_FOLDER}; rm -f /tmp/done; redis-cli flushall`);
  await machine.writeFile(`${SUPPORT_FOLDER}/deaf_controls.py`, DEAF_CONTROLS);
  await startSupportedUnit(machine, unit);
}

/** Sends by the broker of the unit. */
const inTheApp = (program: string): string =>
  `cd /root/slideshow/backend && export $(systemctl show ${UNIT} -p Environment --value) && python3 - <<'PYTHON'\nfrom celery_app import celery_app as app\napp.conf.result_backend = 'disabled://'\n${program}\nPYTHON`;

/** What came of a worker that was made deaf while jobs came in. */
export interface Outcome {
  readonly way: Way;
  /** From the jobs that it could not hear until they were done. */
  readonly seconds: number;
  readonly repaired: number;
  readonly told: number;
  readonly restarts: number;
}

/** The running worker takes no messages from now on. */
export async function makeDeaf(machine: Machine, way: Way): Promise<void> {
  const ask = `print(app.control.broadcast('deaf_now', arguments={'way': '${way}'}, reply=True))`;
  const said = await shell(machine, inTheApp(ask));
  if (!said.includes("'ok'")) throw new Error(`the worker was not made deaf: ${said}`);
  await shell(machine, 'sleep 2.5');
}

/** Sends jobs that note their numbers. */
export async function sendQuick(machine: Machine, numbers: readonly number[]): Promise<void> {
  const program = `for number in ${JSON.stringify(numbers)}: app.send_task('deaf.quick', (number,), queue='celery')`;
  await shell(machine, inTheApp(program));
}

export async function deafen(machine: Machine, way: Way, limitSeconds: number): Promise<Outcome> {
  const before = await marks(machine);
  await makeDeaf(machine, way);
  const from = 1_000_000 + Math.floor(Math.random() * 1e9);
  const sent = performance.now();
  await sendQuick(machine, [from, from + 1, from + 2]);
  await waitUntil(
    'the jobs are done',
    async () => (await doneBetween(machine, from, from + 3)) === 3,
    limitSeconds,
  );
  const after = await marks(machine);
  return {
    way,
    seconds: (performance.now() - sent) / 1000,
    repaired: after.repaired - before.repaired,
    told: after.told - before.told,
    restarts: after.restarts - before.restarts,
  };
}

/** What a healthy worker made of jobs that give it every reason to leave messages waiting. */
export interface Work {
  readonly sent: number;
  readonly done: number;
  readonly repeated: number;
  readonly told: number;
  readonly restarts: number;
}

/** Sends jobs in bursts: quick ones, some under a rate limit, some with an ETA, some that last. */
export async function workThrough(
  machine: Machine,
  count: number,
  limitSeconds: number,
): Promise<Work> {
  const before = await marks(machine);
  const mark = `/tmp/done-${randomUUID()}`;
  await shell(machine, 'rm -f /tmp/done');
  await shell(
    machine,
    inTheApp(`
import time
for number in range(${count}):
    turn = number % 50
    if turn < 10:
        app.send_task('deaf.limited', (number,), queue='links')
    elif turn < 14:
        app.send_task('deaf.quick', (number,), queue='batch', countdown=5 + number % 20)
    elif turn == 14:
        app.send_task('deaf.slow', (number, 8), queue='variations')
    else:
        app.send_task('deaf.quick', (number,), queue='celery')
    if number % 250 == 249:
        time.sleep(8)
open('${mark}', 'w')`),
  );
  const all = async () => (await doneBetween(machine, 0, count)) === count;
  await waitUntil('all jobs are done', all, limitSeconds).catch(() => undefined);
  const after = await marks(machine);
  const lines = Number(await shell(machine, 'wc -l </tmp/done'));
  const done = await doneBetween(machine, 0, count);
  return {
    sent: count,
    done,
    repeated: lines - done,
    told: after.told - before.told,
    restarts: after.restarts - before.restarts,
  };
}

async function doneBetween(machine: Machine, from: number, to: number): Promise<number> {
  const filter = `$1 >= ${from} && $1 < ${to}`;
  return Number(
    await shell(machine, `touch /tmp/done; awk '${filter}' /tmp/done | sort -u | wc -l`),
  );
}

/** How often the journal has it so far. */
export async function marks(
  machine: Machine,
): Promise<{ readonly repaired: number; readonly told: number; readonly restarts: number }> {
  const lines = async (text: string): Promise<number> =>
    Number(await shell(machine, `journalctl -u ${UNIT} -o cat -q | grep -c '${text}' || true`));
  const { NRestarts } = await show(machine, 'NRestarts');
  return {
    repaired: await lines('the loop had lost its sockets'),
    told: await lines('the worker consumes nothing: '),
    restarts: Number(NRestarts),
  };
}
