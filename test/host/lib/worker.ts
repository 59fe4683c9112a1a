import { randomUUID } from 'node:crypto';
import type { Machine } from '../../../sandbox/machine.ts';
import { supportDirectoryOf } from '../../../src/config/support-directory.ts';
import { supportModuleText } from '../../../src/use-case/support-module.ts';

export const UNIT = 'celery-worker.service';
export const UNIT_PATH = '/etc/systemd/system/celery-worker.service';
export const BACKEND = '/root/slideshow/backend';
export const DATABASE = `${BACKEND}/batch_processing.db`;
/** The support module of this version of Celeriac. */
export const SUPPORT = `${supportDirectoryOf(supportModuleText())}/celeriac_support.py`;
export const TRANSACTIONS = '/var/lib/celeriac/transactions';

/** What a shell command prints, without the last line break. */
export async function shell(machine: Machine, command: string): Promise<string> {
  return (await machine.run(command, { timeoutSeconds: 300 })).stdout.replace(/\n$/, '');
}

/** Properties of a unit as `systemctl show` prints them. */
export async function show<Name extends string>(
  machine: Machine,
  ...names: readonly Name[]
): Promise<Record<Name, string>> {
  const text = await shell(machine, `systemctl show ${UNIT} -p ${names.join(',')}`);
  return Object.fromEntries(
    text.split('\n').map((line) => {
      const at = line.indexOf('=');
      return [line.slice(0, at), line.slice(at + 1)];
    }),
  ) as Record<Name, string>;
}

/** Looks less and less often: each look costs an emulated host more than it does a real one. */
export async function waitUntil(
  what: string,
  holds: () => Promise<boolean>,
  seconds = 400,
): Promise<void> {
  const deadline = Date.now() + seconds * 1000;
  for (let pause = 50; !(await holds()); pause = Math.min(1000, pause * 1.3)) {
    if (Date.now() > deadline) throw new Error(`not within ${seconds} s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}

/** A call of `tasks.process_job`, as it lies in Redis; its row has the same id. */
export interface Job {
  readonly id: string;
  /** The message that calls it. */
  readonly message: string;
}

/** Needs no import of the app, which may be broken or slow. */
export function makeJob(seconds: number): Job {
  const id = randomUUID();
  const after = { callbacks: null, errbacks: null, chain: null, chord: null };
  const message = {
    body: Buffer.from(JSON.stringify([[], { seconds }, after])).toString('base64'),
    'content-encoding': 'utf-8',
    'content-type': 'application/json',
    headers: {
      lang: 'py',
      task: 'tasks.process_job',
      id,
      root_id: id,
      parent_id: null,
      group: null,
      argsrepr: '()',
      kwargsrepr: '{}',
      origin: 'test',
      retries: 0,
      eta: null,
      expires: null,
      timelimit: [null, null],
    },
    properties: {
      correlation_id: id,
      delivery_mode: 2,
      delivery_info: { exchange: '', routing_key: 'celery' },
      priority: 0,
      body_encoding: 'base64',
      delivery_tag: randomUUID(),
    },
  };
  return { id, message: JSON.stringify(message) };
}

/** Waits without a shell, which would be slow to see it, and slow to send. */
const SEND = `
import json, os, socket, sys, time
path, text, *messages = json.loads(sys.argv[1])
while path and not (os.path.exists(path) and text in open(path).read()):
    time.sleep(0.02)
with socket.create_connection(('127.0.0.1', 6379)) as redis:
    for message in messages:
        words = ['LPUSH', 'celery', message]
        parts = ['*%d' % len(words)] + ['$%d\\r\\n%s' % (len(word), word) for word in words]
        redis.sendall(('\\r\\n'.join(parts) + '\\r\\n').encode('ascii'))
        redis.recv(100)
`;

/** Sends jobs to whoever consumes the queue `celery`: now, or once a file holds some text. */
export async function sendJobs(
  machine: Machine,
  jobs: readonly Job[],
  once: { readonly path: string; readonly holds: string } = { path: '', holds: '' },
): Promise<void> {
  const asked = JSON.stringify([once.path, once.holds, ...jobs.map(({ message }) => message)]);
  await machine.run(`python3 -I -S - '${asked}'`, { input: SEND, timeoutSeconds: 900 });
}

/** As Kombu keeps what was delivered and never acknowledged: here by a worker that is dead. */
export async function leaveUnacked(
  machine: Machine,
  { id, message }: Job,
  ageSeconds = 600,
): Promise<void> {
  const kept = JSON.stringify([JSON.parse(message), '', 'celery']);
  await machine.run(`redis-cli -x hset unacked tag-${id}`, { input: kept });
  await shell(machine, `redis-cli zadd unacked_index $(($(date +%s) - ${ageSeconds})) tag-${id}`);
}

export type Row = Readonly<Record<string, string | number | null>>;
export type Rows = Readonly<Record<string, readonly Row[]>>;

/** Every row of the app's tables, by table. */
export async function readRows(machine: Machine, database = DATABASE): Promise<Rows> {
  const tables = ['jobs', 'batches', 'batch_links', 'batch_variations', 'video_jobs'];
  const commands = tables.map((table) => `SELECT * FROM ${table} ORDER BY id;\n.print ---\n`);
  const { stdout } = await machine.run(
    `sqlite3 -readonly -json -cmd '.timeout 5000' '${database}'`,
    { input: commands.join('') },
  );
  const parts = stdout.split('---\n');
  return Object.fromEntries(
    tables.map((table, index) => [table, JSON.parse(parts[index] || '[]') as Row[]]),
  );
}

export async function readJob(machine: Machine, id: string): Promise<Row | undefined> {
  const { jobs = [] } = await readRows(machine);
  return jobs.find((job) => job.id === id);
}

/**
 * The unit's worker has said that it is ready: by then it has its processes and folders. Only this
 * run of it counts: a journal keeps what earlier ones said, also before the machine's state was saved.
 */
export async function isReady(machine: Machine, unit = UNIT): Promise<boolean> {
  const log = `journalctl -q -o cat _SYSTEMD_INVOCATION_ID=$(systemctl show -P InvocationID ${unit})`;
  return (await shell(machine, `${log} | grep -c ' ready[.]$' || true`)) !== '0';
}

/** A job sent through Redis is worked on to its end. */
export async function completeJob(machine: Machine): Promise<void> {
  const job = makeJob(0.1);
  const { id } = job;
  await sendJobs(machine, [job]);
  const isDone = async () => (await readJob(machine, id))?.status === 'completed';
  await waitUntil(`job ${id} is completed`, isDone);
}

/** What a transaction on the host was to do, and what became of it. */
export interface Transaction {
  readonly plan: {
    readonly meta: { readonly action: string; readonly holder: string };
    readonly operations: readonly {
      readonly op: string;
      readonly title: string;
      readonly why: string;
      readonly diff?: string;
    }[];
  };
  readonly journal: readonly {
    readonly event: string;
    readonly at: number;
    readonly index?: number;
    readonly result?: string;
  }[];
}

export async function readTransaction(machine: Machine, id: string): Promise<Transaction> {
  const folder = `${TRANSACTIONS}/${id}`;
  const journal = await machine.readFile(`${folder}/journal.jsonl`);
  return {
    plan: JSON.parse(await machine.readFile(`${folder}/plan.json`)),
    journal: journal
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line)),
  };
}

/** The transactions on the host, oldest first. */
export async function listTransactions(machine: Machine): Promise<readonly string[]> {
  const names = await shell(machine, `ls ${TRANSACTIONS} 2>/dev/null || true`);
  return names === '' ? [] : names.split('\n');
}

/** When the first operation of this kind began, in seconds since 1970. */
export function beginOf({ plan, journal }: Transaction, op: string): number {
  const index = plan.operations.findIndex((operation) => operation.op === op);
  const entry = journal.find((each) => each.event === 'started' && each.index === index);
  if (entry === undefined) throw new Error(`no ${op} was begun`);
  return entry.at;
}

/** Was the job of this row worked on at that moment? */
export function isRunningAt(moment: number, { started_at, completed_at }: Row): boolean {
  // UTC without saying so.
  const [begun, done] = [started_at, completed_at].map((text) => Date.parse(`${text}Z`) / 1000);
  return (begun ?? Number.NaN) < moment && moment < (done ?? Number.NaN);
}

/** The jobs that these lines of worker logs say were received. */
export function receivedJobs(log: string): readonly string[] {
  return [...log.matchAll(/process_job\[(\S+)\] received/g)].map(([, id]) => id ?? '');
}
