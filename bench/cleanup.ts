import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { openDatabase } from '../src/adapters/sqlite-native.ts';
import { openSqliteStore } from '../src/adapters/sqlite-store.ts';
import { cleanUpDefaults } from '../src/config/cleanup-desired.ts';
import type { StoreFact } from '../src/model/facts/store.ts';
import type { Extract } from '../src/model/job-store.ts';
import type { RepairJobs } from '../src/model/operation/jobs.ts';
import { type Bytes, bytes } from '../src/model/units.ts';
import { planCleanUp } from '../src/use-case/clean-up.ts';
import { readOptions } from './options.ts';

/*
 * The cost of a clean-up of a large database: how long reading takes, how much is sent, and for how
 * long the app cannot write. Runs the host program on this machine.
 * `npm run bench:cleanup -- --rows 10000,1000000,5000000`
 */

const driver = join(import.meta.dirname, '../test/unit/jobs/drive_host.py');
/** Trees of 20 rows; the newest trees are stuck. */
const stuckTrees = 50;
const linksOf = 18;

const SCHEMA = `
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = OFF;
  CREATE TABLE jobs (id INTEGER PRIMARY KEY, status TEXT NOT NULL, total_links INTEGER,
    completed_links INTEGER, failed_links INTEGER, error_message TEXT, celery_task_id TEXT,
    created_at TEXT, started_at TEXT, completed_at TEXT);
  CREATE TABLE batches (id INTEGER PRIMARY KEY, status TEXT NOT NULL, job_id INTEGER,
    created_at TEXT, started_at TEXT, completed_at TEXT, error_message TEXT);
  CREATE TABLE batch_links (id INTEGER PRIMARY KEY, batch_id INTEGER REFERENCES batches (id),
    status TEXT NOT NULL, link_url TEXT, error_message TEXT, celery_task_id TEXT,
    created_at TEXT, started_at TEXT, completed_at TEXT);`;

const INDEXES = `
  CREATE INDEX link_status ON batch_links (status);
  CREATE INDEX link_batch ON batch_links (batch_id);
  CREATE INDEX batch_status ON batches (status);
  CREATE INDEX batch_job ON batches (job_id);
  CREATE INDEX job_status ON jobs (status);`;

interface Figures {
  readonly rows: number;
  readonly indexes: boolean;
  readonly sizeBytes: number;
  readonly holds: string;
  readonly readSeconds: number;
  readonly sentBytes: number;
  readonly planSeconds: number;
  readonly changed: number;
  readonly repairSeconds: number;
  readonly lockedSeconds: number;
}

/** About this many rows, of about 400 bytes each. */
function fill(file: string, rows: number, indexes: boolean): void {
  const database = openDatabase(file);
  database.exec(SCHEMA);
  const trees = Math.max(stuckTrees + 1, Math.round(rows / (linksOf + 2)));
  const series = `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${trees})`;
  const stuck = `i > ${trees - stuckTrees}`;
  const status = `iif(${stuck}, 'processing', 'completed')`;
  const times = "'2026-01-16 14:21:07', '2026-01-16T14:21:09.418273'";
  database.exec(`BEGIN;
    INSERT INTO jobs SELECT i, ${status}, ${linksOf}, iif(${stuck}, 0, ${linksOf}), 0, NULL,
      'task-' || i, ${times}, NULL FROM (${series} SELECT i FROM n);
    INSERT INTO batches SELECT i, ${status}, i, ${times}, NULL, NULL FROM (${series} SELECT i FROM n);
    INSERT INTO batch_links SELECT NULL, i, ${status},
      'https://example.com/' || i || '/' || k || '/' || printf('%.*c', 300, 'x'), NULL,
      'task-' || i || '-' || k, ${times}, NULL
      FROM (${series} SELECT i FROM n), (WITH RECURSIVE m (k) AS
        (SELECT 1 UNION ALL SELECT k + 1 FROM m WHERE k < ${linksOf}) SELECT k FROM m);
    COMMIT; ${indexes ? INDEXES : ''} ANALYZE; PRAGMA wal_checkpoint(TRUNCATE);`);
  database.close();
}

interface Said<Value> {
  readonly value: Value;
  readonly content?: string;
}

const user = userInfo().username;

function drive<Value>(folder: string, module: string, call: string, args: object): Said<Value> {
  const result = spawnSync('python3', ['-I', driver], {
    input: JSON.stringify({ module, call, args: { ...args, user }, state: join(folder, 'state') }),
    encoding: 'utf8',
    maxBuffer: 1024 ** 3,
  });
  if (result.status !== 0) throw new Error(result.stderr);
  const said = JSON.parse(result.stdout) as Said<Value> & { readonly error?: string };
  if (said.error !== undefined) throw new Error(said.error);
  return said;
}

async function measure(rows: number, indexes: boolean, limit: Bytes): Promise<Figures> {
  const folder = mkdtempSync(join(tmpdir(), 'celeriac-bench-'));
  try {
    const file = join(folder, 'jobs.db');
    fill(file, rows, indexes);
    const look = { unit: 'celery-worker.service', databases: [file] };
    const { value: stores } = drive<readonly StoreFact[]>(folder, 'facts.stores', 'look', look);
    let [readSeconds, sentBytes, holds] = [0, 0, ''];
    const agent = {
      look: async () => ({ stores }),
      snapshot: async (database: string, limitBytes: Bytes, extract: Extract) => {
        const begun = performance.now();
        const said = drive<{ holds: string }>(folder, 'session.snapshot', 'snapshot', {
          database,
          limitBytes,
          extract,
        });
        readSeconds = (performance.now() - begun) / 1000;
        const content = Buffer.from(said.content ?? '', 'base64');
        [sentBytes, holds] = [content.length, said.value.holds];
        return { info: said.value, content };
      },
    };
    const begun = performance.now();
    const cleanUp = await planCleanUp(
      { agent: agent as never, openStore: openSqliteStore, newTaskId: () => 'none' },
      { ...cleanUpDefaults, database: file, evidence: 'age', snapshotLimitBytes: limit },
    );
    const planSeconds = (performance.now() - begun) / 1000 - readSeconds;
    const repair = cleanUp.plan.operations.find(
      (each): each is RepairJobs => each.op === 'repair-jobs',
    );
    if (repair === undefined) throw new Error('there is nothing to repair');
    const repairing = performance.now();
    const [, result] = drive<[string, { changed: number; lockedSeconds: number }]>(
      folder,
      'operations.repair_jobs',
      'do',
      repair,
    ).value;
    return {
      rows,
      indexes,
      sizeBytes: statSync(file).size,
      holds,
      readSeconds,
      sentBytes,
      planSeconds,
      changed: result.changed,
      repairSeconds: (performance.now() - repairing) / 1000,
      lockedSeconds: result.lockedSeconds,
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const mebibytes = (size: number): string => `${(size / 1024 ** 2).toFixed(1)} MiB`;

function show(figures: Figures): string {
  const { rows, indexes, sizeBytes, holds, readSeconds, sentBytes, planSeconds } = figures;
  return [
    `${String(rows).padStart(9)} rows ${indexes ? 'with indexes   ' : 'without indexes'}`,
    mebibytes(sizeBytes).padStart(12),
    `${holds}: read in ${readSeconds.toFixed(2)} s, ${mebibytes(sentBytes)}`,
    `planned in ${planSeconds.toFixed(2)} s`,
    `${figures.changed} rows changed in ${figures.repairSeconds.toFixed(2)} s`,
    `write lock ${(figures.lockedSeconds * 1000).toFixed(1)} ms`,
  ].join(', ');
}

const { values } = readOptions({
  options: {
    rows: { type: 'string', default: '10000,1000000,5000000' },
    'snapshot-limit': { type: 'string', default: String(256 * 1024 ** 2) },
  },
});
for (const rows of values.rows.split(',').map(Number)) {
  for (const indexes of [true, false]) {
    console.log(show(await measure(rows, indexes, bytes(Number(values['snapshot-limit'])))));
  }
}
