import { execFile } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Machine, startMachine } from '../../sandbox/machine.ts';
import { openAgent } from '../../src/adapters/agent/open-agent.ts';
import { openSqliteStore } from '../../src/adapters/sqlite-store.ts';
import { type CleanUpDesired, cleanUpDefaults } from '../../src/config/cleanup-desired.ts';
import { hostProgram } from '../../src/generated/host-program.ts';
import type { CleanUp } from '../../src/jobs/repair/clean-up-plan.ts';
import { ConfigError, HostError } from '../../src/model/errors.ts';
import type { Outcome, Step } from '../../src/model/outcome.ts';
import { seconds } from '../../src/model/units.ts';
import type { Agent } from '../../src/ports/agent.ts';
import { renderUndoText } from '../../src/report/undo-view.ts';
import { planCleanUp } from '../../src/use-case/clean-up.ts';
import { waitUntil } from './lib/worker.ts';

const program = join(import.meta.dirname, '../../cli/dist/index.js');
const app = '/root/slideshow/backend/batch_processing.db';
/** The same rows, in a database that belongs to an ordinary user. */
const folder = '/srv/jobs';
const database = `${folder}/jobs.db`;
const quiet = () => {};
const first = '77cfa3cd-5b0e-4c7e-9d51-2f8a6c1e4b90';
const second = 'b49d06f6-1c2f-4f3a-8e64-7d9b0a5c3e21';

let machine: Machine;
let agent: Agent;

beforeAll(async () => {
  machine = await startMachine({ name: 'cleanup', state: 'before' });
  const { host, sshPort: port, key, knownHosts } = machine;
  const target = { host, port, user: 'deploy', key, knownHosts };
  agent = await openAgent({ target, program: hostProgram }, quiet);
});

afterAll(async () => {
  await agent?.close();
  await machine?.stop();
});

async function run(command: string): Promise<string> {
  return (await machine.run(command)).stdout.trim();
}

/** The stuck rows again, owned by deploy, with a reader of deploy's that keeps -wal and -shm. */
async function provideDatabase(): Promise<void> {
  await run(`pkill -u deploy -f '^[^ ]*python3 -c import time,sqlite3' || true
    rm -rf ${folder} && mkdir ${folder}
    sqlite3 ${app} ".backup ${database}"
    chown -R deploy:deploy ${folder}
    setsid nohup runuser -u deploy -- python3 -c 'import time,sqlite3
d = sqlite3.connect("${database}"); d.execute("SELECT count(*) FROM jobs").fetchall(); time.sleep(3600)' >/dev/null 2>&1 </dev/null &
    for n in $(seq 600); do [ -e ${database}-shm ] && break; sleep 0.1; done`);
}

const addStuckJobs = (count: number): Promise<string> =>
  run(`sqlite3 ${database} "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${count})
    INSERT INTO jobs (id, status, created_at, started_at) SELECT 'many-' || i, 'processing', '2026-01-16 14:21:07', '2026-01-16 14:21:07' FROM n"
    chown -R deploy:deploy ${folder}`);

const dump = (path = database): Promise<string> => run(`sqlite3 -readonly ${path} .dump`);

async function statuses(): Promise<Record<string, string>> {
  const text = await run(
    `sqlite3 -readonly ${database} "SELECT id, status FROM jobs UNION ALL SELECT id, status FROM batches UNION ALL SELECT id, status FROM batch_links UNION ALL SELECT id, status FROM batch_variations"`,
  );
  return Object.fromEntries(text.split('\n').map((line) => line.split('|') as [string, string]));
}

const desire = (wishes: Partial<CleanUpDesired> = {}): CleanUpDesired => ({
  ...cleanUpDefaults,
  database,
  // The unit of these hosts runs as root.
  appUser: 'deploy',
  evidence: 'age',
  confirmAfterSeconds: seconds(0),
  runUrl: 'https://ci.example/runs/7',
  ...wishes,
});

const plan = (wishes: Partial<CleanUpDesired> = {}): Promise<CleanUp> =>
  planCleanUp({ agent, openStore: openSqliteStore, newTaskId: randomUUID }, desire(wishes));

const meta = {
  action: 'cleanup',
  holder: 'https://ci.example/runs/7',
  sha: 'a'.repeat(40),
  lockTimeoutSeconds: seconds(60),
};

const apply = (cleanUp: CleanUp): Promise<Outcome> =>
  agent.apply(cleanUp.plan.operations, meta, quiet);

const stepOf = (outcome: Outcome, op: string): Step => {
  const step = outcome.steps.find((each) => each.op === op);
  if (!step) throw new Error(`no step ${op}`);
  return step;
};

const idsOf = (cleanUp: CleanUp): string[] =>
  cleanUp.repairs.flatMap(({ rows }) => rows.map((row) => String(row.id))).toSorted();

const owners = (): Promise<string> =>
  run(`cd ${folder} && stat -c '%n %U %G' jobs.db jobs.db-wal jobs.db-shm`);

const ownedByDeploy = 'jobs.db deploy deploy\njobs.db-wal deploy deploy\njobs.db-shm deploy deploy';

describe("the app's own database", () => {
  test('is found through the unit; reading changes no byte of it', async () => {
    const look = async () =>
      createHash('sha256')
        .update(await run(`sha256sum ${app}`))
        .update(await dump(app))
        .digest('hex');
    const before = await look();
    const cleanUp = await plan({ database: null, appUser: null, dryRun: true });
    expect(await look()).toBe(before);
    expect(cleanUp.repairs.map((repair) => repair.database)).toEqual([app]);
    // The task list's two jobs, four batches and twelve links; and two variations below one.
    const rows = cleanUp.repairs[0]?.rows ?? [];
    const count = (table: string) => rows.filter((row) => row.table === table).length;
    expect([count('jobs'), count('batches'), count('batch_links')]).toEqual([2, 4, 12]);
    expect(rows).toHaveLength(20);
    const shown = cleanUp.plan.operations.map(({ diff }) => diff ?? '').join('\n');
    expect(shown).toContain('77cfa3cd');
  });

  test('from a terminal over SSH, with the worker asked: the same rows', async () => {
    const { host, sshPort, key, knownHosts } = machine;
    const home = mkdtempSync(join(tmpdir(), 'celeriac-test-'));
    try {
      writeFileSync(join(home, 'key'), key, { mode: 0o600 });
      writeFileSync(join(home, 'hosts'), knownHosts);
      const words = ['cleanup', '--host', host, '--port', String(sshPort), '--user', 'deploy'];
      const files = [
        '--ssh-key-file',
        join(home, 'key'),
        '--known-hosts-file',
        join(home, 'hosts'),
      ];
      const run = await promisify(execFile)(
        process.execPath,
        [program, ...words, ...files, '--database', app, '--dry-run', '--json'],
        { timeout: 900_000 },
      ).catch((failed: { code: number; stdout: string; stderr: string }) => failed);
      expect(run).toMatchObject({ code: 3 });
      const { rows } = JSON.parse(run.stdout) as { rows: { id: string; why: string }[] };
      expect(rows).toHaveLength(20);
      expect(rows.find(({ id }) => id === first)?.why).toMatch(
        /^no sign of life for .*; its 7 tasks are neither in a worker nor in a queue; failed_links 0 → 6$/,
      );
    } finally {
      rmSync(home, { recursive: true });
    }
  });

  test('costs one handshake and one exec, for any number of requests', () => {
    expect([agent.traffic.handshakes, agent.traffic.execs]).toEqual([1, 1]);
  });
});

const tried = ['fail', 'reset', 'delete'] as const;

describe.each(tried)('%s', (action) => {
  test('changes the found rows, and no others; undo restores them', async () => {
    await provideDatabase();
    const before = await dump();
    const was = await statuses();
    const cleanUp = await plan({ action });
    const found = idsOf(cleanUp);
    const outcome = await apply(cleanUp);
    expect(outcome.failure).toBeUndefined();
    expect(outcome.result).toBe('committed');
    expect(stepOf(outcome, 'repair-jobs').result).toMatchObject({
      changed: found.length,
      skipped: [],
    });
    const now = await statuses();
    const differing = Object.keys(was).filter((id) => was[id] !== now[id]);
    expect(differing.toSorted()).toEqual(found);
    expect(now[first]).toBe({ fail: 'failed', reset: 'pending', delete: undefined }[action]);
    expect(await run(`sqlite3 -readonly ${database} 'PRAGMA foreign_key_check'`)).toBe('');
    expect(await run(`sqlite3 -readonly ${database} 'PRAGMA integrity_check'`)).toBe('ok');
    expect(await owners()).toBe(ownedByDeploy);

    const again = await plan({ action });
    expect(again.plan.operations).toEqual([]);

    const backup = String(stepOf(outcome, 'backup-database').result?.path);
    expect(await run(`stat -c '%U %a' ${backup}`)).toBe('root 600');
    expect(await dump(backup)).toBe(before);

    const undone = await agent.undo([outcome.transaction], meta, quiet);
    expect(undone.result).toBe('undone');
    expect(sorted(await dump())).toEqual(sorted(before));
    expect(await owners()).toBe(ownedByDeploy);
  });
});

/** Rows that come back get other places in the file. */
const sorted = (text: string): string[] => text.split('\n').toSorted();

test('ids: delete takes the named job and its tree, whatever the threshold', {
  tags: ['nightly'],
}, async () => {
  await provideDatabase();
  const was = Object.keys(await statuses());
  const cleanUp = await plan({
    action: 'delete',
    ids: ['77cfa3cd'],
    thresholdSeconds: seconds(10 ** 9),
  });
  expect((await apply(cleanUp)).result).toBe('committed');
  const now = await statuses();
  expect(was.filter((id) => now[id] === undefined).toSorted()).toEqual(idsOf(cleanUp));
  expect(now[first]).toBeUndefined();
  expect(now[second]).toBe('processing');
});

describe('a database in use', () => {
  test('locked: the holder is named, and nothing is changed', async () => {
    await provideDatabase();
    const before = await dump();
    const cleanUp = await plan({ busyTimeoutSeconds: seconds(1) });
    const holder = await run(`cat >/tmp/hold.py <<'PY'
import sqlite3, time
d = sqlite3.connect("${database}", isolation_level=None)
d.execute("BEGIN IMMEDIATE")
open("/tmp/held", "w").close()
time.sleep(3600)
PY
      rm -f /tmp/held
      setsid nohup python3 /tmp/hold.py >/dev/null 2>&1 </dev/null & echo $!
      for n in $(seq 600); do [ -e /tmp/held ] && break; sleep 0.1; done`);
    try {
      const outcome = await apply(cleanUp);
      expect(outcome.result).toBe('undone');
      expect(outcome.failure?.message).toContain(`${database} is locked by pid `);
      expect(outcome.failure?.message).toContain('/tmp/hold.py');
      expect(outcome.failure?.message).toContain('nothing was changed');
    } finally {
      await run(`kill ${holder}`);
    }
    expect(await dump()).toBe(before);
    expect((await apply(cleanUp)).result).toBe('committed');
  });

  test('a tree that changes between look and apply is skipped, the other is repaired', async () => {
    await provideDatabase();
    const cleanUp = await plan();
    await run(
      `runuser -u deploy -- sqlite3 ${database} "UPDATE batch_links SET status = 'completed', completed_at = datetime('now') WHERE id = '3d0c51aa-0000-4000-8000-000000000001'"`,
    );
    const outcome = await apply(cleanUp);
    expect(outcome.result).toBe('committed');
    const { skipped } = stepOf(outcome, 'repair-jobs').result as {
      skipped: { id: string; why: string }[];
    };
    expect(skipped.find((row) => row.id.startsWith('3d0c51aa-0000'))?.why).toBeDefined();
    expect(skipped.find((row) => row.id === first)?.why).toContain('belongs to batch_links');
    const now = await statuses();
    expect([now[first], now[second]]).toEqual(['processing', 'failed']);
  });
});

test('all rows of a large repair are counted, however few of them are listed', async () => {
  await provideDatabase();
  await addStuckJobs(600);
  const cleanUp = await plan();
  const outcome = await apply(cleanUp);
  expect(outcome.result).toBe('committed');
  const rowCount = idsOf(cleanUp).length;
  expect(rowCount).toBeGreaterThan(600);
  // Asked for so often that the last list no longer fits into the answer.
  const transactions = Array.from({ length: 80 }, () => outcome.transaction);
  const { undoing } = await agent.look({ undoing: { transactions } });
  const repairs = undoing.flatMap(({ steps }) => steps.filter(({ op }) => op === 'repair-jobs'));
  expect(repairs.map((each) => each.rowCount)).toEqual(transactions.map(() => rowCount));
  expect(repairs[0]?.rows).toHaveLength(200);
  expect(repairs.at(-1)?.rows.length).toBeLessThan(100);
  expect(renderUndoText(undoing.slice(0, 1))).toContain(`… and ${rowCount - 200} more rows`);
});

describe('an app that keeps running', () => {
  /** Fifty rows a second, and every tenth of a second a stuck job that ends after all. */
  const WRITER = `
import os, sqlite3, time
d = sqlite3.connect("${database}", isolation_level=None, timeout=10)
done = open("${folder}/done.txt", "w")
begun, n = time.monotonic(), 0
while not os.path.exists("${folder}/stop"):
    n += 1
    d.execute("INSERT INTO video_jobs (id, status, created_at) VALUES (?, 'processing', datetime('now'))", ("new-%d" % n,))
    if n % 5 == 0:
        name = "many-%d" % (n // 5)
        if d.execute("UPDATE jobs SET status = 'completed', completed_at = datetime('now') WHERE id = ? AND status = 'processing'", (name,)).rowcount == 1:
            done.write(name + "\\n")
            done.flush()
    time.sleep(max(0.0, begun + n * 0.02 - time.monotonic()))
open("${folder}/written.txt", "w").write(str(n))
`;

  test('and a worker that ends jobs at that moment: no ended job is overwritten', async () => {
    await provideDatabase();
    await addStuckJobs(600);
    await machine.writeFile('/tmp/writer.py', WRITER);
    await run(
      'setsid nohup runuser -u deploy -- python3 /tmp/writer.py >/tmp/writer.log 2>&1 </dev/null &',
    );
    await run(
      `for n in $(seq 600); do [ $(cat ${folder}/done.txt | wc -l) -gt 3 ] && break; sleep 0.1; done`,
    );
    const cleanUp = await plan();
    const outcome = await apply(cleanUp);
    expect(outcome.result).toBe('committed');
    // Some more rows after it.
    const rows = `sqlite3 -readonly ${database} "SELECT count(*) FROM video_jobs"`;
    const sofar = Number(await run(rows));
    await waitUntil('the app has gone on', async () => Number(await run(rows)) > sofar + 10);
    await run(`touch ${folder}/stop
      for n in $(seq 600); do [ -e ${folder}/written.txt ] && break; sleep 0.1; done`);
    // It was never locked out.
    expect(await run('cat /tmp/writer.log')).toBe('');
    const done = (await run(`cat ${folder}/done.txt`)).split('\n');
    const now = await run(
      `sqlite3 -readonly ${database} "SELECT id || ' ' || status FROM jobs WHERE id LIKE 'many-%'"`,
    );
    const became = new Map(now.split('\n').map((line) => line.split(' ') as [string, string]));
    expect(done.length).toBeGreaterThan(3);
    for (const id of done) expect([id, became.get(id)]).toEqual([id, 'completed']);
    const others = [...became].filter(([id]) => !done.includes(id));
    expect(new Set(others.map(([, status]) => status))).toEqual(new Set(['failed']));
    const { skipped } = stepOf(outcome, 'repair-jobs').result as { skipped: { id: string }[] };
    expect(skipped.every(({ id }) => done.includes(id))).toBe(true);
    const written = await run(`cat ${folder}/written.txt`);
    expect(
      await run(
        `sqlite3 -readonly ${database} "SELECT count(*) FROM video_jobs WHERE id LIKE 'new-%'; PRAGMA integrity_check"`,
      ),
    ).toBe(`${written}\nok`);
    expect(await owners()).toBe(ownedByDeploy);
  });
});

describe('unusual databases', () => {
  beforeEach(provideDatabase);

  test('a foreign database is one clear error, and the host is untouched', async () => {
    await run(`head -c 100000 /dev/urandom >${folder}/foreign.db; chown -R deploy: ${folder}`);
    const list = () =>
      run(`ls -la --time-style=full-iso ${folder}; ls /var/lib/celeriac/transactions || true`);
    const before = await list();
    const error = await refusal(plan({ database: `${folder}/foreign.db` }));
    expect(error.message).toMatch(/not a SQLite database/);
    expect(error.message).not.toContain('Traceback');
    expect(await list()).toBe(before);
  });

  test('a database with a strange name is cleaned like any other', {
    tags: ['nightly'],
  }, async () => {
    const path = `${folder}/it's a "job" ?mode=memory&x=#1%20.db`;
    await run(
      `cp ${database} '${path.replaceAll("'", "'\\''")}'; chown -R deploy:deploy ${folder}`,
    );
    const cleanUp = await plan({ database: path });
    expect(idsOf(cleanUp)).toHaveLength(20);
    expect((await apply(cleanUp)).result).toBe('committed');
    expect((await plan({ database: path })).plan.operations).toEqual([]);
  });

  const sums = () => run(`cd ${folder} && sha256sum jobs.db*`);

  test('leftovers of another database next to it are ignored', async () => {
    await run(`pkill -u deploy -f '^[^ ]*python3 -c import time,sqlite3'
      while pgrep -u deploy -f '^[^ ]*python3 -c import time,sqlite3'; do sleep 0.1; done
      runuser -u deploy -- sqlite3 ${database} 'PRAGMA wal_checkpoint(TRUNCATE)'
      ls ${database}-wal ${database}-shm 2>/dev/null && exit 1
      head -c 40000 /dev/urandom >${database}-wal; chown deploy:deploy ${database}-wal`);
    const before = await sums();
    expect(idsOf(await plan())).toHaveLength(20);
    expect((await sums()).split('\n').filter((line) => !line.endsWith('-shm'))).toEqual(
      before.split('\n'),
    );
  });

  test('a read-only file system, a full disk: one sentence, nothing changed', async () => {
    const before = await sums();
    const cleanUp = await plan();
    await run(`mount --bind ${folder} ${folder} && mount -o remount,bind,ro ${folder}`);
    try {
      const outcome = await apply(cleanUp);
      expect(outcome.result).toBe('undone');
      expect(outcome.failure?.message).toMatch(
        /^\/srv\/jobs\/jobs\.db: cannot (?:open|write) it: .*read-only/,
      );
    } finally {
      await run(`umount ${folder}`);
    }
    await run('mount -t tmpfs -o size=64k,mode=700 none /var/lib/celeriac/backups');
    try {
      const outcome = await apply(cleanUp);
      expect(outcome.result).toBe('undone');
      expect(outcome.failure?.message).toMatch(/^no room for a backup of \/srv\/jobs\/jobs\.db: /);
    } finally {
      await run('umount /var/lib/celeriac/backups');
    }
    expect(await sums()).toBe(before);
  });
});

async function refusal(work: Promise<unknown>): Promise<ConfigError | HostError> {
  const error = await work.then(
    () => new Error('it was accepted'),
    (caught: unknown) => caught,
  );
  if (error instanceof ConfigError || error instanceof HostError) return error;
  throw error;
}
