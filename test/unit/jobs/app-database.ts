import { randomUUID } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Database } from 'better-sqlite3';
import { openDatabase } from '../../../src/adapters/sqlite-native.ts';
import { type CleanUpDesired, cleanUpDefaults } from '../../../src/config/cleanup-desired.ts';
import type { RecordedStop } from '../../../src/jobs/judge/recorded-stop.ts';
import { countsTable } from '../../../src/jobs/judge/suspects.ts';
import type { TasksFact } from '../../../src/model/facts/broker.ts';
import type { StoreColumn, StoreFact, StoreTable } from '../../../src/model/facts/store.ts';
import type { UnitFact } from '../../../src/model/facts/unit.ts';
import { bytes, type EpochSeconds, epochSeconds, sha256Text } from '../../../src/model/units.ts';
import type { Agent } from '../../../src/ports/agent.ts';
import { planCleanUp } from '../../../src/use-case/clean-up.ts';
import { openStoreHere } from '../../lib/store-here.ts';
import { facts, unitFact } from '../verify/facts.ts';

/** The current time in all tests: 2026-01-18 15:00:00 UTC. */
export const now = epochSeconds(Date.UTC(2026, 0, 18, 15) / 1000);
export const minute = 60;
export const hour = 3600;
export const day = 86_400;

export const schema = `
  CREATE TABLE jobs (
    id TEXT PRIMARY KEY, job_type TEXT NOT NULL DEFAULT 'single',
    status TEXT NOT NULL DEFAULT 'pending', total_links INTEGER DEFAULT 0,
    completed_links INTEGER DEFAULT 0, failed_links INTEGER DEFAULT 0, folder_name TEXT,
    error_message TEXT, celery_task_id TEXT,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP, started_at TIMESTAMP, completed_at TIMESTAMP);
  CREATE TABLE batches (
    id TEXT PRIMARY KEY, status TEXT NOT NULL DEFAULT 'pending', total_links INTEGER DEFAULT 0,
    job_id TEXT, created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP, started_at TIMESTAMP,
    completed_at TIMESTAMP, error_message TEXT);
  CREATE TABLE batch_links (
    id TEXT PRIMARY KEY, batch_id TEXT NOT NULL, link_index INTEGER NOT NULL DEFAULT 0,
    link_url TEXT NOT NULL DEFAULT '', status TEXT NOT NULL DEFAULT 'pending', error_message TEXT,
    celery_task_id TEXT, created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP, started_at TIMESTAMP,
    completed_at TIMESTAMP, FOREIGN KEY (batch_id) REFERENCES batches (id));
  CREATE TABLE batch_variations (
    id TEXT PRIMARY KEY, batch_link_id TEXT NOT NULL, variation_num INTEGER NOT NULL DEFAULT 0,
    status TEXT NOT NULL DEFAULT 'pending', celery_task_id TEXT, error_message TEXT,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP, started_at TIMESTAMP, completed_at TIMESTAMP,
    FOREIGN KEY (batch_link_id) REFERENCES batch_links (id));
  CREATE TABLE video_jobs (
    id TEXT PRIMARY KEY, job_type TEXT NOT NULL DEFAULT 'video',
    status TEXT NOT NULL DEFAULT 'pending', error_message TEXT,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP, started_at TIMESTAMP, completed_at TIMESTAMP);
`;

/** As SQLite's CURRENT_TIMESTAMP writes it: `2026-01-18 11:02:03`. */
export const bySqlite = (ago: number): string =>
  new Date((now - ago) * 1000).toISOString().slice(0, 19).replace('T', ' ');

/** As Python's isoformat() writes it: `2026-01-18T11:02:03.123456`. */
export const byPython = (ago: number): string =>
  `${new Date((now - ago) * 1000).toISOString().slice(0, 19)}.123456`;

export const path = '/srv/app/backend/batch_processing.db';

type Values = Readonly<Record<string, string | number | Buffer | null>>;

/** A database of the app in a temporary file. */
export class AppDatabase implements Disposable {
  readonly folder: string;
  readonly file: string;
  readonly sql: Database;

  constructor(tables: string = schema) {
    this.folder = mkdtempSync(join(tmpdir(), 'celeriac-test-'));
    this.file = join(this.folder, 'app.db');
    this.sql = openDatabase(this.file);
    this.sql.pragma('synchronous = OFF');
    this.sql.exec(tables);
    // Orphans are created as by an app without this pragma.
    this.sql.pragma('foreign_keys = OFF');
  }

  add(table: string, values: Values): string {
    const names = Object.keys(values);
    const marks = names.map(() => '?').join(', ');
    this.sql
      .prepare(`INSERT INTO "${table}" (${names.join(', ')}) VALUES (${marks})`)
      .run(...Object.values(values));
    return String(values.id);
  }

  /** A job, its batch and links in these states, each `ago` seconds since it started. */
  addBatch(
    name: string,
    options: {
      readonly ago: number;
      readonly status?: string;
      readonly job?: Values;
      readonly links: readonly (readonly [status: string, ago: number])[];
    },
  ): { readonly job: string; readonly batch: string; readonly links: readonly string[] } {
    const status = options.status ?? 'processing';
    const times = { created_at: bySqlite(options.ago), started_at: byPython(options.ago) };
    const job = this.add('jobs', {
      id: `job-${name}`,
      job_type: 'batch',
      status,
      total_links: options.links.length,
      completed_links: options.links.filter(([state]) => state === 'completed').length,
      celery_task_id: `task-${name}`,
      ...times,
      ...options.job,
    });
    const batch = this.add('batches', {
      id: `batch-${name}`,
      status,
      job_id: job,
      total_links: options.links.length,
      ...times,
    });
    const links = options.links.map(([state, ago], index) =>
      this.add('batch_links', {
        id: `link-${name}-${index}`,
        batch_id: batch,
        status: state,
        created_at: bySqlite(options.ago),
        started_at: state === 'pending' ? null : byPython(ago),
        completed_at: ['completed', 'failed'].includes(state) ? byPython(ago) : null,
        celery_task_id: state === 'pending' ? null : `task-${name}-${index}`,
      }),
    );
    return { job, batch, links };
  }

  addVariation(link: string, status: string, ago: number): string {
    const started_at = byPython(ago);
    const id = `variation-${link}-${ago}`;
    const values = { id, batch_link_id: link, status, created_at: bySqlite(ago), started_at };
    return this.add('batch_variations', values);
  }

  row(table: string, id: string): Record<string, unknown> | undefined {
    return this.sql.prepare(`SELECT * FROM "${table}" WHERE id = ?`).get(id) as
      | Record<string, unknown>
      | undefined;
  }

  statuses(): Record<string, string> {
    const tables = this.tables().filter((table) => table.columns.some((c) => c.name === 'status'));
    return Object.fromEntries(
      tables.flatMap(({ name }) =>
        (
          this.sql.prepare(`SELECT id, status FROM "${name}"`).all() as {
            id: string;
            status: string;
          }[]
        ).map(({ id, status }) => [id, status]),
      ),
    );
  }

  /** The fact that the host would report about it. */
  tables(): StoreTable[] {
    const names = this.sql
      .prepare("SELECT name FROM sqlite_master WHERE type = 'table'")
      .pluck()
      .all() as string[];
    return names.map((name) => ({
      name,
      columns: this.#columnsOf(name),
      foreignKeys: (
        this.sql.pragma(`foreign_key_list("${name.replaceAll('"', '""')}")`) as ForeignKey[]
      ).map((key) => ({
        column: key.from,
        table: key.table,
        to: key.to ?? this.#keyOf(key.table),
      })),
      ...this.#statusesOf(name),
    }));
  }

  #keyOf(table: string): string {
    const columns = this.sql.pragma(`table_info("${table}")`) as Column[];
    return columns.find(({ pk }) => pk === 1)?.name ?? '';
  }

  #columnsOf(table: string): StoreColumn[] {
    const quoted = `"${table.replaceAll('"', '""')}"`;
    const sql = this.sql
      .prepare('SELECT sql FROM sqlite_master WHERE name = ?')
      .pluck()
      .get(table) as string;
    return (this.sql.pragma(`table_info(${quoted})`) as Column[]).map(
      ({ name, type, notnull, dflt_value: given }) => {
        // Plainer than the host reads it: a test holds them against each other.
        const longest = new RegExp(`length\\(${name}\\) <= (\\d+)`).exec(sql)?.[1];
        const list = new RegExp(`CHECK \\("?${name}"? IN \\(([^)]*)\\)\\)`, 'i').exec(sql)?.[1];
        const labels = list?.split(',').map((label) => label.trim().slice(1, -1));
        return {
          name,
          type,
          ...(labels === undefined ? {} : { labels }),
          ...(notnull === 1 ? { notNull: true } : {}),
          ...(given === null ? {} : { default: given }),
          ...(longest === undefined ? {} : { longest: Number(longest) }),
          ...(new RegExp(`json_valid\\("?${name}"?\\)`, 'i').test(sql) ? { json: true } : {}),
        };
      },
    );
  }

  #statusesOf(table: string): Pick<StoreTable, 'statuses'> {
    const quoted = `"${table.replaceAll('"', '""')}"`;
    const columns = this.sql.pragma(`table_info(${quoted})`) as Column[];
    const column = columns.find(({ name }) => name.toLowerCase() === 'status');
    if (column === undefined) return {};
    const words = `SELECT DISTINCT "${column.name}" AS s FROM ${quoted}`;
    const statuses = this.sql
      .prepare(`SELECT s FROM (${words}) WHERE typeof(s) IN ('text', 'integer') LIMIT 50`)
      .pluck()
      .all() as (string | number)[];
    return { statuses };
  }

  fact(): StoreFact {
    return {
      kind: 'sqlite',
      path,
      file: `254:1:${this.file}`,
      owner: 'root',
      group: 'root',
      user: 'app',
      sizeBytes: bytes(1),
      tables: this.tables(),
    };
  }

  /** Not read through the file: closing it would drop the locks of this process on the database. */
  content(): Uint8Array {
    return new Uint8Array(this.sql.serialize());
  }

  [Symbol.dispose](): void {
    this.sql.close();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

interface Column {
  readonly name: string;
  readonly type: string;
  readonly notnull: 0 | 1;
  readonly pk: number;
  readonly dflt_value: string | null;
}

interface ForeignKey {
  readonly from: string;
  readonly table: string;
  readonly to: string | null;
}

/** What the host would report besides its databases. */
export interface HostAnswers {
  readonly unit?: UnitFact;
  /** Ids → what is known about these tasks. */
  readonly tasks?: (ids: readonly string[]) => TasksFact;
  readonly resets?: Readonly<Record<string, number>>;
  readonly holds?: 'everything' | 'rows';
  /** When somebody last wrote to the database. */
  readonly writtenAt?: EpochSeconds | null;
}

/** Nothing is in a worker or a queue. */
export const nothingLeft = (): TasksFact => ({
  kind: 'told',
  worker: 'answers',
  owed: [],
  held: [],
  holding: 0,
  waiting: 0,
  hidden: null,
});

/** The same rows, as an extract that holds all of them: with their counts by status. */
function asExtract(content: Uint8Array): Uint8Array {
  const folder = mkdtempSync(join(tmpdir(), 'celeriac-test-'));
  try {
    const file = join(folder, 'copy.db');
    writeFileSync(file, content);
    const sql = openDatabase(file);
    const tables =
      "SELECT m.name FROM sqlite_master m JOIN pragma_table_info(m.name) c ON c.name = 'status'";
    const names = sql.prepare(tables).pluck().all() as string[];
    sql.exec(`CREATE TABLE ${countsTable} ("table" TEXT, status, "rows" INTEGER)`);
    for (const name of names) {
      const rows = `SELECT ?, status, count(*) FROM "${name}" GROUP BY status`;
      sql.prepare(`INSERT INTO ${countsTable} ${rows}`).run(name);
    }
    sql.close();
    return readFileSync(file);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** An agent that has only databases; each `look` answers these facts. */
export function agentOf(
  stores: readonly StoreFact[],
  contents: Readonly<Record<string, Uint8Array>>,
  {
    unit = unitFact(),
    tasks = nothingLeft,
    resets = {},
    holds = 'everything',
    writtenAt = null,
  }: HostAnswers = {},
): Pick<Agent, 'look' | 'snapshot'> & { readonly asked: string[] } {
  const asked: string[] = [];
  const agent = {
    asked,
    look: async (query: { readonly tasks?: { readonly ids: readonly string[] } }) => {
      asked.push(`look ${JSON.stringify(query)}`);
      const rehearsal = { problems: [], skipped: [] };
      const answers = { stores, unit, host: facts().host, resets, rehearsal };
      return { ...answers, tasks: query.tasks && tasks(query.tasks.ids) };
    },
    snapshot: async (database: string) => {
      asked.push(`snapshot ${database}`);
      const given = contents[database] ?? new Uint8Array();
      const content = holds === 'rows' ? asExtract(given) : given;
      const sizeBytes = bytes(content.length);
      return {
        info: { database, holds, sizeBytes, sha256: sha256Text(''), takenAt: now, writtenAt },
        content,
      };
    },
  };
  return agent as unknown as ReturnType<typeof agentOf>;
}

/** Judges by age alone, unless a test sets more. */
export function desire(wishes: Partial<CleanUpDesired> = {}): CleanUpDesired {
  return {
    ...cleanUpDefaults,
    database: path,
    evidence: 'age',
    runUrl: 'https://ci.example/runs/7',
    ...wishes,
  };
}

/** Ids of tasks that are sent again. */
export const newTaskId = (): string => randomUUID();

/** The clean-up of one database, as a run plans it. */
export function planFor(
  database: AppDatabase,
  wishes: Partial<CleanUpDesired> = {},
  answers: HostAnswers = {},
  stop: RecordedStop | null = null,
) {
  const agent = agentOf([database.fact()], { [path]: database.content() }, answers);
  return planCleanUp({ agent, openStore: openStoreHere, newTaskId }, desire(wishes), stop);
}

/** Its findings for people, one line each. */
export const messagesOf = (cleanUp: Awaited<ReturnType<typeof planFor>>): string =>
  cleanUp.plan.findings.map((finding) => finding.message).join('\n');

/** Makes the planned changes in the database, as the host would. */
export function applyPlan(
  database: AppDatabase,
  cleanUp: Awaited<ReturnType<typeof planFor>>,
): void {
  database.sql.pragma('foreign_keys = ON');
  for (const operation of cleanUp.plan.operations) {
    if (operation.op !== 'repair-jobs') continue;
    for (const { table, key, id, change } of operation.rows) {
      if (change.kind === 'keep') continue;
      if (change.kind === 'delete') {
        database.sql.prepare(`DELETE FROM "${table}" WHERE "${key}" = ?`).run(id);
        continue;
      }
      const pairs = Object.keys(change.set).map((column) => `"${column}" = ?`);
      database.sql
        .prepare(`UPDATE "${table}" SET ${pairs.join(', ')} WHERE "${key}" = ?`)
        .run(...Object.values(change.set), id);
    }
  }
  database.sql.pragma('foreign_keys = OFF');
}
