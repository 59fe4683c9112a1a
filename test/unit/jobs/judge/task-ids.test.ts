import { describe, expect, test } from 'vitest';
import type { CleanUpDesired } from '../../../../src/config/cleanup-desired.ts';
import type { TasksFact } from '../../../../src/model/facts/broker.ts';
import { configRefusal } from '../../../lib/refusals.ts';
import {
  AppDatabase,
  bySqlite,
  day,
  hour,
  messagesOf,
  nothingLeft,
  path,
  planFor,
} from '../app-database.ts';
import { load } from '../load-case.ts';

/** A row lives by its task, however its id is written, or by its own id; else only when all is idle. */

type CleanUp = Awaited<ReturnType<typeof planFor>>;
type Told = TasksFact & { kind: 'told' };

const task = '3f0c1c6e-1111-4c2e-9a4e-000000000001';

const told = (changes: Partial<Told> = {}): Told => ({ ...(nothingLeft() as Told), ...changes });

/** Workers and broker hold these tasks, as Celery spells them, and tell of those that are asked for. */
const holding =
  (...held: readonly string[]) =>
  (ids: readonly string[]): TasksFact =>
    told({ held: held.filter((each) => ids.includes(each)), holding: held.length });

const plan = (
  database: AppDatabase,
  tasks: (ids: readonly string[]) => TasksFact,
  wishes: Partial<CleanUpDesired> = {},
) => planFor(database, { evidence: 'broker', ...wishes }, { tasks });

const found = (cleanUp: CleanUp): unknown[] =>
  cleanUp.repairs.flatMap(({ rows }) => rows.map(({ id }) => id));

const repairOf = ({ plan: { operations } }: CleanUp) =>
  operations.find((operation) => operation.op === 'repair-jobs');

describe('one id in many forms', () => {
  test('without dashes in the database, with them in the worker', async () => {
    using database = load('uuid-without-dashes');
    expect(found(await plan(database, holding(task)))).toEqual([]);
    expect(found(await plan(database, holding()))).toEqual([1]);
  });

  const plain = task.replaceAll('-', '');
  const stored = {
    'with dashes': task,
    'without dashes': plain,
    'in upper case': task.toUpperCase(),
    'in upper case without dashes': plain.toUpperCase(),
    'in mixed case': task.replace('f', 'F'),
    'in braces': `{${task}}`,
    '16 bytes': Buffer.from(plain, 'hex'),
    'text as a BLOB': Buffer.from(task),
  };

  test.each(Object.entries(stored))('%s', async (_, value) => {
    using database = new AppDatabase(
      'CREATE TABLE jobs (id INTEGER PRIMARY KEY, status TEXT, created_at TEXT, task_id)',
    );
    const row = { status: 'processing', created_at: bySqlite(day) };
    database.add('jobs', { id: 1, ...row, task_id: value });
    database.add('jobs', { id: 2, ...row, task_id: 'own-name' });
    for (const held of [task, plain, task.toUpperCase()]) {
      expect(found(await plan(database, holding(held)))).toEqual([2]);
    }
    expect(found(await plan(database, holding('own-name')))).toEqual([1]);
    expect(found(await plan(database, () => told({ owed: [task], waiting: 1 })))).toEqual([2]);
    const again = repairOf(await plan(database, holding()))?.lookAgain?.tasks ?? [];
    expect(again.map((each) => each.task)).toEqual(
      expect.arrayContaining([task, plain, 'own-name']),
    );
  });

  test('a task is sent again under an id in the form of the column', async () => {
    using database = load('uuid-without-dashes');
    const tables = { jobs: { resend: { task: 't', args: ['id'], queue: null } } };
    const stores = [{ database: path, tables, where: 'input stores' }];
    const { plan: done } = await plan(database, holding(), { action: 'reset', stores });
    const [repair, send] = [
      done.operations.find((operation) => operation.op === 'repair-jobs'),
      done.operations.find((operation) => operation.op === 'send-tasks'),
    ];
    const id = send?.calls[0]?.id;
    expect(id).toMatch(/^[0-9a-f]{32}$/);
    expect(repair?.rows[0]?.change).toMatchObject({ set: { celery_task_id: id } });
  });
});

describe('the id of a task that is sent again for a row without one', () => {
  const plain = task.replaceAll('-', '');
  const bytes = Buffer.from(plain, 'hex');
  const dashed = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

  const sentFor = async (type: string, other: string | Buffer | null): Promise<string> => {
    using database = new AppDatabase(
      `CREATE TABLE jobs (id INTEGER PRIMARY KEY, status TEXT, created_at TEXT, celery_task_id ${type})`,
    );
    database.add('jobs', { id: 1, status: 'processing', created_at: bySqlite(day) });
    const ended = { status: 'completed', created_at: bySqlite(day) };
    if (other !== null) database.add('jobs', { id: 2, celery_task_id: other, ...ended });
    const tables = { jobs: { resend: { task: 't', args: ['id'], queue: null } } };
    const stores = [{ database: path, tables, where: 'input stores' }];
    const cleanUp = await plan(database, holding(), { action: 'reset', stores });
    const send = cleanUp.plan.operations.find((operation) => operation.op === 'send-tasks');
    const id = send?.calls[0]?.id ?? '';
    expect(repairOf(cleanUp)?.rows[0]?.change).toMatchObject({ set: { celery_task_id: id } });
    return id;
  };

  test.each<[type: string, other: string | Buffer | null, form: RegExp]>([
    ['TEXT', null, dashed],
    ['VARCHAR(36)', null, dashed],
    ['VARCHAR(255)', null, dashed],
    ['uuid', null, dashed],
    ['CHAR(32)', null, /^[0-9a-f]{32}$/],
    ['character varying(32)', null, /^[0-9a-f]{32}$/],
    ['BLOB', plain, /^[0-9a-f]{32}$/],
    ['TEXT', plain, /^[0-9a-f]{32}$/],
    ['TEXT', plain.toUpperCase(), /^[0-9A-F]{32}$/],
    ['CHAR(32)', task, dashed],
    ['TEXT', 'own-name', dashed],
    ['TEXT', '', dashed],
  ])('%s, another row holding %s', async (type, other, form) => {
    expect(await sentFor(type, other)).toMatch(form);
  });

  test.each<[type: string, other: string | Buffer | null]>([
    ['BLOB', bytes],
    ['', bytes],
    ['BLOB', Buffer.from(task)],
    ['bytea', `\\x${plain}`],
    // Nothing shows its form yet: text, with dashes or without, is not what such a column holds.
    ['bytea', null],
    ['BLOB', null],
    ['BINARY(16)', null],
    ['VARBINARY(16)', null],
    ['RAW(16)', ''],
  ])('of type "%s" that holds binary data: refused (another row: %s)', async (type, other) => {
    const refused = await configRefusal(sentFor(type, other));
    expect(refused.message).toContain('`celery_task_id` of jobs holds task ids as binary data');
  });
});

describe('columns with ids of tasks', () => {
  const names = [
    'celery_id',
    'current_task_id',
    'active_task_id',
    'task_uuid',
    'celeryTaskId',
    'celerytaskid',
    'celeryTaskUUID',
    'async_result_id',
  ];

  test.each(names)('%s', async (name) => {
    using database = new AppDatabase(
      `CREATE TABLE documents (id INTEGER PRIMARY KEY, status TEXT, created_at TEXT, ${name} TEXT)`,
    );
    const row = { id: 1, status: 'processing', created_at: bySqlite(day), [name]: task };
    database.add('documents', row);
    expect(found(await plan(database, holding(task)))).toEqual([]);
    expect(found(await plan(database, holding('another')))).toEqual([1]);
  });

  test('current_task_id may name a task of the app', async () => {
    using database = new AppDatabase(`
      CREATE TABLE tasks (id TEXT PRIMARY KEY, status TEXT, created_at TEXT);
      CREATE TABLE documents (id TEXT PRIMARY KEY, status TEXT, created_at TEXT, current_task_id TEXT)`);
    const row = { status: 'processing', created_at: bySqlite(day) };
    database.add('documents', { id: 'd', ...row, current_task_id: 't' });
    database.add('tasks', { id: 't', ...row });
    const cleanUp = await plan(database, holding());
    expect(found(cleanUp)).toEqual(['t']);
    expect(messagesOf(cleanUp)).toContain('current_task_id may not be a Celery task id');
  });
});

describe('rows without the id of a task', () => {
  test('the own id of a row is asked for if it is a UUID', async () => {
    using database = load('id-is-task-id');
    const asked: string[] = [];
    const cleanUp = await plan(database, (ids) => {
      asked.push(...ids);
      return holding(task)(ids);
    });
    expect(asked).toContain(task);
    expect(found(cleanUp)).toEqual([]);
    expect(messagesOf(cleanUp)).toContain('a worker holds task 3f0c1c6e');
  });

  test.each<[what: string, left: Partial<Told>]>([
    ['a worker holds a task', { holding: 1 }],
    ['a message waits', { waiting: 1 }],
    ['the unit is stopped, and a message waits', { worker: 'stopped', waiting: 1 }],
  ])('are skipped while %s, and `evidence: age` is named', async (_, left) => {
    using database = new AppDatabase();
    database.add('video_jobs', {
      id: '9b2f8a52-4f0e-4a3c-8f55-0d3a5a1c2b7e',
      status: 'processing',
      created_at: bySqlite(hour),
    });
    const cleanUp = await plan(database, () => told(left));
    expect(found(cleanUp)).toEqual([]);
    expect(messagesOf(cleanUp)).toContain('video_jobs 9b2f8a52: it names no task');
    expect(messagesOf(cleanUp)).toContain('`evidence: age`');
    expect(found(await plan(database, () => told(left), { evidence: 'age' }))).toHaveLength(1);
  });

  test('are dead when nothing is left, then and at the second look', async () => {
    using database = new AppDatabase();
    database.add('video_jobs', { id: 'v', status: 'processing', created_at: bySqlite(hour) });
    const cleanUp = await plan(database, () => told());
    expect(cleanUp.repairs[0]?.rows[0]?.why).toContain('no task is left in a worker or a queue');
    const awaited = [{ group: 'video_jobs:v', task: null }];
    expect(repairOf(cleanUp)?.lookAgain?.tasks).toEqual(awaited);
  });

  test('a batch is asked for by its links, also while other tasks run', async () => {
    using database = new AppDatabase();
    const links = [
      ['processing', day],
      ['pending', 0],
    ] as const;
    database.addBatch('a', { ago: day, links, job: { celery_task_id: null } });
    const cleanUp = await plan(database, () => told({ holding: 5 }));
    expect(found(cleanUp)).toHaveLength(4);
    const again = repairOf(cleanUp)?.lookAgain?.tasks ?? [];
    expect(again.map((each) => each.task)).toEqual(['task-a-0']);
  });

  test('a batch is skipped while one of its links may be at work', async () => {
    using database = new AppDatabase();
    const links = [
      ['processing', day],
      ['processing', day],
    ] as const;
    database.addBatch('a', { ago: day, links, job: { celery_task_id: null } });
    database.sql.exec("UPDATE batch_links SET celery_task_id = NULL WHERE id = 'link-a-1'");
    expect(found(await plan(database, () => told({ holding: 5 })))).not.toContain('link-a-1');
    expect(found(await plan(database, () => told()))).toContain('link-a-1');
  });

  test('a batch whose links have all ended is finalised, whatever runs', async () => {
    using database = new AppDatabase();
    const links = [['completed', day]] as const;
    database.addBatch('a', { ago: day, links, job: { celery_task_id: null } });
    database.sql.exec('UPDATE batch_links SET celery_task_id = NULL');
    expect(found(await plan(database, () => told({ holding: 5 })))).toEqual(['job-a', 'batch-a']);
  });

  test('`task: id` says that the id of a row is that of its task; it is never cleared', async () => {
    using database = load('id-is-task-id');
    const tables = { task: { task: 'id' } };
    const stores = [{ database: path, tables, where: 'input stores' }];
    const cleanUp = await plan(database, holding('another'), { action: 'reset', stores });
    expect(found(cleanUp)).toEqual([task]);
    const [row] = repairOf(cleanUp)?.rows ?? [];
    expect(row?.change).toEqual({ kind: 'update', set: { status: 'pending' } });
    const resend = { task: 't', args: ['id'], queue: null };
    const where = 'input stores';
    const sending = [{ database: path, tables: { task: { task: 'id', resend } }, where }];
    const refused = await configRefusal(
      plan(database, holding(), { action: 'reset', stores: sending }),
    );
    expect(refused.message).toContain('as its own id');
  });
});
