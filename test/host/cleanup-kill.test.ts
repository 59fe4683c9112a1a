import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startMachine } from '../../sandbox/machine.ts';
import { openSqliteStore } from '../../src/adapters/sqlite-store.ts';
import { cleanUpDefaults } from '../../src/config/cleanup-desired.ts';
import { planCleanUp } from '../../src/use-case/clean-up.ts';
import { Hand } from './lib/hand.ts';
import { DATABASE, UNIT, waitUntil } from './lib/worker.ts';

/** A clean-up whose work is killed at every line of its journal: the database is whole each time. */

let hand: Hand;

beforeAll(async () => {
  hand = await Hand.open(await startMachine({ name: 'cleanup-kill', state: 'healthy' }));
  await hand.shell(`systemctl stop ${UNIT}`);
  await hand.machine.writeFile('/tmp/watch.py', WATCH);
});
afterAll(async () => {
  await hand?.stop();
});

/** Kills the work, with its children, as soon as its journal holds such a line. */
const WATCH = `
import glob, json, os, signal, sys, time
wanted = json.loads(sys.argv[1])
known = set(glob.glob("/var/lib/celeriac/transactions/*"))
open("/tmp/watching", "w").close()
def found():
    for folder in set(glob.glob("/var/lib/celeriac/transactions/*")) - known:
        try:
            lines = open(folder + "/journal.jsonl").read().splitlines()
        except OSError:
            continue
        for line in lines:
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if all(str(entry.get(name, "")).startswith(str(value)) for name, value in wanted.items()):
                return True
    return False
while not found():
    time.sleep(0.002)
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        line = open("/proc/%s/cmdline" % pid, "rb").read()
    except OSError:
        continue
    if b"/var/lib/celeriac/program.py" in line or b"celeriac_host" in line:
        os.kill(int(pid), signal.SIGKILL)
`;

const sql = (statement: string): Promise<string> =>
  hand.shell(`sqlite3 -cmd '.timeout 10000' ${DATABASE} "${statement}"`);

type Line = Readonly<Record<string, string | number>>;

/** In the middle of each operation, and when all is done. */
const telling: readonly Line[] = [
  { event: 'kept', index: 1, name: 'rows' },
  { event: 'kept', index: 2, name: 'sending' },
  { event: 'ended' },
];
const others: readonly Line[] = [
  { event: 'started', index: 0 },
  { event: 'done', index: 1 },
  { event: 'kept', index: 0 },
  { event: 'done', index: 0 },
  { event: 'started', index: 1 },
  { event: 'kept', index: 1, name: 'resets' },
  { event: 'kept', index: 2, name: 'rows' },
  { event: 'kept', index: 2, name: 'sent' },
  { event: 'done', index: 2 },
];

test.each(telling)('killed at %j', killAt);
test.each(others)('killed at %j, too', { tags: ['nightly'] }, killAt);

async function killAt(line: Line): Promise<void> {
  await sql('DELETE FROM jobs');
  await hand.shell('redis-cli del celery; rm -f /tmp/watching');
  for (let at = 0; at < 3; at += 1) {
    const task = randomUUID();
    await sql(
      `INSERT INTO jobs (id, status, celery_task_id, created_at, started_at) VALUES ('${task}', 'processing', '${task}', '2026-01-16 14:21:07', '2026-01-16T14:21:09.4')`,
    );
  }
  const before = await sql('SELECT * FROM jobs ORDER BY id');
  const cleanUp = await planCleanUp(
    { agent: hand.agent, openStore: openSqliteStore, newTaskId: randomUUID },
    {
      ...cleanUpDefaults,
      action: 'reset',
      stores: [
        {
          database: DATABASE,
          where: 'input stores, line 1',
          tables: { jobs: { resend: { task: 'tasks.process_job', args: ['id'], queue: null } } },
        },
      ],
    },
  );
  expect(cleanUp.plan.operations.map(({ op }) => op)).toEqual([
    'backup-database',
    'repair-jobs',
    'send-tasks',
  ]);
  await hand.shell(
    `setsid nohup python3 /tmp/watch.py '${JSON.stringify(line)}' >/tmp/watch.log 2>&1 </dev/null &
    for n in $(seq 600); do [ -e /tmp/watching ] && break; sleep 0.1; done`,
  );
  const outcome = await hand.apply(cleanUp.plan.operations);
  expect(await sql('PRAGMA integrity_check')).toBe('ok');
  // It saw its line, killed, and left.
  await waitUntil('what kills has left', async () => {
    return (await hand.shell("pgrep -f '^python3 /tmp/watch.py' || true")) === '';
  });
  expect(await hand.shell('cat /tmp/watch.log')).toBe('');
  const after = await sql('SELECT * FROM jobs ORDER BY id');
  const waiting = await hand.shell('redis-cli llen celery');
  // Old or new, and nothing between: as many messages as there are rows that wait for one.
  if (outcome.result === 'committed') {
    expect(await sql("SELECT count(*) FROM jobs WHERE status = 'pending'")).toBe('3');
    expect(waiting).toBe('3');
  } else {
    expect([outcome.result, after, waiting]).toEqual(['undone', before, '0']);
  }
}
