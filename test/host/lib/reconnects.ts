import type { Machine } from '../../../sandbox/machine.ts';
import { marks } from './deaf-workers.ts';
import { SUPPORT_FOLDER, startSupportedUnit, supportedUnit } from './units.ts';
import { DATABASE, makeJob, sendJobs, shell, UNIT, waitUntil } from './worker.ts';

/** What one loss of Redis did to a worker. */
export interface Round {
  readonly number: number;
  readonly way: string;
  readonly sent: number;
  readonly done: number;
  /** From the last jobs that were sent until all were done. */
  readonly seconds: number;
  /** How often its sockets had been lost, and were registered again. */
  readonly repaired: number;
  /** How often it said that it consumes nothing. */
  readonly told: number;
  readonly restarts: number;
}

export type Figures = Pick<Round, 'sent' | 'done' | 'repaired' | 'told' | 'restarts'>;

const queues = 'celery,batch,links,variations';
/** What a start takes: RestartSec, the import, mingle; with room for a busy machine. */
const startSeconds = 20;

/** A hang must be over within this time. */
export const hangLimitSeconds = (watchdogSeconds: number): number => watchdogSeconds + startSeconds;

const WAYS = {
  restart: 'systemctl restart redis-server',
  away: 'systemctl stop redis-server; sleep 6; systemctl start redis-server',
  killed:
    'kill -9 "$(systemctl show redis-server -p MainPID --value)"; sleep 2; systemctl reset-failed redis-server; systemctl start redis-server',
} as const;

/** A worker with the support module; without `repairs` only the watchdog helps it. */
export async function prepareReconnects(
  machine: Machine,
  { watchdogSeconds, repairs }: { readonly watchdogSeconds: number; readonly repairs: boolean },
): Promise<void> {
  const service = `Restart=always\nRestartSec=1\nWatchdogSec=${watchdogSeconds}\n`;
  await startSupportedUnit(machine, supportedUnit(queues, service));
  if (repairs) return;
  const module = `${SUPPORT_FOLDER}/celeriac_support.py`;
  const text = await machine.readFile(module);
  const without = text.replace(/^ +repair\(consumer\)\n/m, '');
  if (without === text) throw new Error('the support module calls repair in another way');
  await machine.writeFile(module, without);
  await machine.run(`systemctl restart ${UNIT}`);
}

/** Takes Redis away and back, sends jobs at once and later, and waits until they are done. */
export async function reconnectOnce(
  machine: Machine,
  number: number,
  watchdogSeconds: number,
): Promise<Round> {
  const names = Object.keys(WAYS) as (keyof typeof WAYS)[];
  const way = names[number % names.length] ?? 'restart';
  const before = await marks(machine);
  await machine.run(WAYS[way], { timeoutSeconds: 60 });
  const [first, ...others] = [makeJob(0.1), makeJob(0.1), makeJob(0.1), makeJob(0.1)];
  if (first === undefined) throw new Error('no job was made');
  await sendJobs(machine, [first]);
  await shell(machine, 'sleep 12');
  await sendJobs(machine, others);
  const sentAt = performance.now();
  const ids = [first, ...others].map(({ id }) => id);
  const isDone = async () => (await completed(machine, ids)) === ids.length;
  const limit = 2 * hangLimitSeconds(watchdogSeconds);
  await waitUntil('all jobs are done', isDone, limit).catch(() => undefined);
  const seconds = (performance.now() - sentAt) / 1000;
  const after = await marks(machine);
  return {
    number,
    way,
    sent: ids.length,
    done: await completed(machine, ids),
    seconds,
    repaired: after.repaired - before.repaired,
    told: after.told - before.told,
    restarts: after.restarts - before.restarts,
  };
}

/** The sums; a job that was late in its own round counts as done by now. */
export async function sumUp(machine: Machine, rounds: readonly Round[]): Promise<Figures> {
  const sum = (name: keyof Figures): number =>
    rounds.reduce((total, round) => total + round[name], 0);
  return {
    sent: sum('sent'),
    done: Number(
      await sql(machine, "SELECT count(*) FROM jobs WHERE status = 'completed' AND id LIKE '%-%'"),
    ),
    repaired: sum('repaired'),
    told: sum('told'),
    restarts: sum('restarts'),
  };
}

async function completed(machine: Machine, ids: readonly string[]): Promise<number> {
  const list = ids.map((id) => `'${id}'`).join(', ');
  const query = `SELECT count(*) FROM jobs WHERE status = 'completed' AND id IN (${list})`;
  return Number(await sql(machine, query));
}

const sql = (machine: Machine, query: string): Promise<string> =>
  shell(machine, `sqlite3 -readonly -cmd '.timeout 5000' ${DATABASE} "${query}"`);
