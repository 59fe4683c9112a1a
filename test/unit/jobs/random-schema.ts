import fc from 'fast-check';
import { AppDatabase, bySqlite, minute } from './app-database.ts';

/* Random schemas of jobs, their steps and payments on them: types, constraints and triggers. */

const errors = [
  'TEXT',
  'TEXT NOT NULL',
  'VARCHAR(20)',
  "VARCHAR(40) NOT NULL DEFAULT ''",
  'TEXT CHECK (length(error) <= 30)',
  'TEXT CHECK (error IS NULL OR error NOT LIKE $$stuck%$$)',
  'JSON',
  "JSON NOT NULL DEFAULT '{}'",
  'TEXT CHECK (json_valid(error))',
  'BOOLEAN NOT NULL DEFAULT 0',
  'INTEGER CHECK (error IS NULL OR typeof(error) = $$integer$$)',
  'BLOB',
];
/** Stands for the words of the app, as it spells them. */
const list = '$list$';
const statuses = [
  'TEXT',
  'TEXT NOT NULL',
  'VARCHAR(20)',
  `TEXT CHECK (status IN (${list}))`,
  `VARCHAR(20) NOT NULL CHECK (status IN (${list}))`,
  'TEXT CHECK (status <> $$failed$$)',
  'TEXT CHECK (status <> $$pending$$ OR started_at IS NOT NULL)',
];
const times = ['TEXT', "TEXT NOT NULL DEFAULT '2026-01-01 00:00:00'", 'TEXT NOT NULL'];
const triggers = {
  none: '',
  touch:
    'CREATE TRIGGER touch AFTER UPDATE ON jobs BEGIN UPDATE jobs SET touched = $$now$$ WHERE id = new.id; END;',
  refuse:
    'CREATE TRIGGER refuse BEFORE UPDATE OF status ON jobs WHEN new.status = $$failed$$ BEGIN SELECT RAISE(ABORT, $$no$$); END;',
  log: 'CREATE TRIGGER log AFTER UPDATE ON jobs BEGIN INSERT INTO audit VALUES (new.id); END;',
  purge:
    'CREATE TRIGGER purge AFTER DELETE ON jobs BEGIN DELETE FROM audit WHERE job = $$first$$; END;',
  one: 'CREATE UNIQUE INDEX one ON jobs (status) WHERE status = $$failed$$;',
} as const;

const keys = ['', 'REFERENCES jobs (id)', ...['CASCADE', 'SET NULL', 'RESTRICT']].map((key) =>
  /^[A-Z ]+$/.test(key) ? `REFERENCES jobs (id) ON DELETE ${key}` : key,
);

const capital = (word: string): string => word.charAt(0).toUpperCase() + word.slice(1);
/** How the app spells its words; the last one has others for two ends, and none for a third. */
const spellings = {
  lower: (word: string) => word,
  upper: (word: string) => word.toUpperCase(),
  capital,
  others: (word: string) => ({ completed: 'DONE', failed: 'ERROR' })[word] ?? word.toUpperCase(),
} as const;

const uuid = '3f0c1c6e-1111-4c2e-9a4e-00000000000';
/** The id of the task of a job, in the forms in which apps keep it. */
const forms = {
  name: (at: number) => `task-${at}`,
  dashed: (at: number) => `${uuid}${at}`,
  plain: (at: number) => `${uuid}${at}`.replaceAll('-', ''),
  upper: (at: number) => `${uuid}${at}`.toUpperCase(),
  bytes: (at: number) => Buffer.from(`${uuid}${at}`.replaceAll('-', ''), 'hex'),
  none: () => null,
} as const;
type Form = keyof typeof forms;

const someStatus = fc.constantFrom(
  'processing',
  'processing',
  'pending',
  'completed',
  'partial',
  'failed',
);
const age = fc.constantFrom(1, 50, 120, 120, 120, 120);

/** One of them, with its rows. */
export const schemas = fc.record({
  id: fc.constantFrom('INTEGER', 'TEXT', 'VARCHAR(36)'),
  rowid: fc.boolean(),
  error: fc.constantFrom(...errors),
  status: fc.constantFrom(...statuses),
  spelling: fc.constantFrom(...(Object.keys(spellings) as (keyof typeof spellings)[])),
  started: fc.constantFrom(...times),
  completed: fc.constantFrom(...times),
  task: fc.constantFrom('TEXT', 'TEXT UNIQUE', "TEXT NOT NULL DEFAULT ''"),
  trigger: fc.constantFrom(...(Object.keys(triggers) as (keyof typeof triggers)[])),
  stepKey: fc.constantFrom(...keys),
  paymentKey: fc.constantFrom(...keys),
  jobs: fc.array(
    fc.record({
      status: someStatus,
      age,
      task: fc.constantFrom(...(Object.keys(forms) as Form[])),
      error: fc.constantFrom(null, 'Timeout', '{"type":"Timeout"}', 0),
      steps: fc.array(fc.record({ status: someStatus, age }), { maxLength: 2 }),
      paid: fc.option(fc.constantFrom('processing', 'paid')),
    }),
    { minLength: 1, maxLength: 4 },
  ),
});

export type Schema = typeof schemas extends fc.Arbitrary<infer Value> ? Value : never;

/** The tables that hold no jobs. */
export const otherTables = ['users', 'payments', 'invoices'];

/** A database of this schema; a row that it does not take is not in it. */
export function makeDatabase(schema: Schema): AppDatabase {
  const id = (at: number): number | string => (schema.id === 'INTEGER' ? at : `row-${at}`);
  const { rowid, error, started, completed, task, stepKey, paymentKey } = schema;
  const spell = spellings[schema.spelling];
  const words = ['pending', 'processing', 'completed', 'partial', 'failed']
    .filter((word) => word !== 'partial' || schema.spelling !== 'others')
    .map((word) => `'${spell(word)}'`);
  const status = schema.status.replace(list, words.join(', '));
  const database = new AppDatabase(
    `CREATE TABLE users (id INTEGER PRIMARY KEY, status TEXT);
    CREATE TABLE jobs (id ${schema.id} PRIMARY KEY, user_id INTEGER REFERENCES users (id),
      status ${status}, celery_task_id ${task}, error ${error}, started_at ${started},
      completed_at ${completed}, touched TEXT, "odd ""näme" TEXT,
      twice TEXT GENERATED ALWAYS AS (status || status))${rowid ? '' : ' WITHOUT ROWID'};
    CREATE TABLE job_steps (id INTEGER PRIMARY KEY, job_id ${schema.id} ${stepKey}, status TEXT,
      started_at TEXT, error ${error});
    CREATE TABLE invoices (id INTEGER PRIMARY KEY, user_id INTEGER REFERENCES users (id), status TEXT);
    CREATE TABLE payments (id INTEGER PRIMARY KEY, job_id ${schema.id} ${paymentKey}, status TEXT,
      created_at TEXT, invoice_id INTEGER REFERENCES invoices (id));
    CREATE TABLE audit (job TEXT);
    INSERT INTO users VALUES (1, 'processing');
    INSERT INTO invoices VALUES (1, 1, 'processing');
    INSERT INTO audit VALUES ('first');`.replaceAll('$$', "'"),
  );
  database.sql.exec(triggers[schema.trigger].replaceAll('$$', "'"));
  const add = (
    table: string,
    values: Readonly<Record<string, string | number | Buffer | null>>,
  ): void => {
    const given = Object.entries(values).filter(([, value]) => value !== null);
    const names = given.map(([name]) => `"${name.replaceAll('"', '""')}"`).join(', ');
    const marks = given.map(() => '?').join(', ');
    database.sql
      .prepare(`INSERT OR IGNORE INTO ${table} (${names}) VALUES (${marks})`)
      .run(...given.map(([, value]) => value));
  };
  schema.jobs.forEach((job, at) => {
    add('jobs', {
      id: id(at),
      user_id: 1,
      status: spell(job.status),
      celery_task_id: forms[job.task](at),
      error: job.error,
      started_at: bySqlite(job.age * minute),
      completed_at: completed === 'TEXT NOT NULL' ? bySqlite(job.age * minute) : null,
      'odd "näme': 'ü',
    });
    for (const step of job.steps) {
      const started_at = bySqlite(step.age * minute);
      add('job_steps', { job_id: id(at), status: step.status, started_at, error: job.error });
    }
    if (job.paid === null) return;
    const created_at = bySqlite(120 * minute);
    add('payments', { job_id: id(at), status: job.paid, created_at, invoice_id: 1 });
  });
  return database;
}
