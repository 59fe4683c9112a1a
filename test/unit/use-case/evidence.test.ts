import { describe, expect, test } from 'vitest';
import { otherWorkersIn } from '../../../src/celery/worker-process.ts';
import type { CleanUp } from '../../../src/jobs/repair/clean-up-plan.ts';
import { ConfigError, HostError } from '../../../src/model/errors.ts';
import type { TasksFact } from '../../../src/model/facts/broker.ts';
import type { RepairJobs, SendTasks } from '../../../src/model/operation/jobs.ts';
import { seconds } from '../../../src/model/units.ts';
import { planCleanUp } from '../../../src/use-case/clean-up.ts';
import { openStoreHere } from '../../lib/store-here.ts';
import {
  AppDatabase,
  agentOf,
  byPython,
  bySqlite,
  day,
  desire,
  hour,
  minute,
  newTaskId,
  nothingLeft,
  path,
  planFor,
} from '../jobs/app-database.ts';
import { fileFact, unitFact } from '../verify/facts.ts';

const asked = { evidence: 'broker' } as const;

const told = (changes: Partial<TasksFact & { kind: 'told' }>) => (): TasksFact => ({
  kind: 'told',
  worker: 'answers',
  owed: [],
  held: [],
  holding: 0,
  waiting: 0,
  hidden: null,
  ...changes,
});

const changes = (cleanUp: CleanUp): Record<string, string> =>
  Object.fromEntries(
    cleanUp.repairs.flatMap(({ rows }) => rows.map(({ id, becomes }) => [String(id), becomes])),
  );

const findings = (cleanUp: CleanUp): string =>
  cleanUp.plan.findings.map(({ level, message }) => `${level}: ${message}`).join('\n');

const repairOf = ({ plan }: CleanUp): RepairJobs => {
  const found = plan.operations.find((each) => each.op === 'repair-jobs');
  if (!found) throw new Error('no repair');
  return found;
};

const stoppedUnit = unitFact({ activeState: 'inactive', mainPid: null, processes: [] });

/** Two links that were processing for a day, each with a task. */
const twoLinks = (database: AppDatabase) =>
  database.addBatch('a', {
    ago: day,
    links: [
      ['processing', day],
      ['processing', day],
    ],
  });

describe('questions to the app', () => {
  test('the tasks of the row, its mirror, its unfinished descendants and its ancestors', async () => {
    using database = new AppDatabase();
    database.addBatch('a', {
      ago: day,
      links: [
        ['processing', day],
        ['completed', day],
      ],
    });
    database.addBatch('fresh', { ago: minute, links: [['processing', minute]] });
    const seen: (readonly string[])[] = [];
    const tasks = (ids: readonly string[]): TasksFact => {
      seen.push(ids.toSorted());
      return nothingLeft();
    };
    await planFor(database, asked, { tasks });
    expect(seen).toEqual([['task-a', 'task-a-0']]);
  });

  test('nothing is asked if there is nothing to repair', async () => {
    using database = new AppDatabase();
    const agent = agentOf([database.fact()], { [path]: database.content() });
    const tools = { agent, openStore: openStoreHere, newTaskId };
    await planCleanUp(tools, desire(asked));
    expect(agent.asked.filter((line) => line.includes('tasks'))).toEqual([]);
  });

  test('many tasks are asked about in several requests', async () => {
    using database = new AppDatabase();
    const add = database.sql.prepare(
      'INSERT INTO jobs (id, status, created_at, celery_task_id) VALUES (?, ?, ?, ?)',
    );
    for (let at = 0; at < 7000; at += 1) add.run(`j-${at}`, 'processing', bySqlite(day), `t-${at}`);
    const counts: number[] = [];
    const tasks = (ids: readonly string[]): TasksFact => {
      counts.push(ids.length);
      return { ...nothingLeft(), held: ids.slice(1) } as TasksFact;
    };
    const cleanUp = await planFor(database, asked, { tasks });
    expect(counts).toEqual([5000, 2000]);
    expect(Object.keys(changes(cleanUp))).toHaveLength(2);
  });

  test('a job is skipped if its broker does not show whose messages wait', async () => {
    using database = new AppDatabase();
    database.add('jobs', {
      id: 'j',
      status: 'processing',
      created_at: bySqlite(day),
      celery_task_id: 'task-j',
    });
    const hidden = 'RabbitMQ reports that 2 messages are in its queues, but not which';
    const left = await planFor(database, asked, { tasks: told({ waiting: 2, hidden }) });
    expect(changes(left)).toEqual({});
    expect(findings(left)).toContain(`its task may still be queued: ${hidden}`);
    expect(findings(left)).toContain('`evidence: age`');
    // Whatever the broker shows, a worker may report it.
    const held = await planFor(database, asked, { tasks: told({ held: ['task-j'], hidden }) });
    expect(findings(held)).toContain('a worker holds task task-j');
    const dead = await planFor(database, asked, { tasks: told({}) });
    expect(changes(dead)).toEqual({ j: 'failed' });
  });

  test('if a worker does not answer, no job counts as stuck', async () => {
    using database = new AppDatabase();
    twoLinks(database);
    const problem = 'celery-worker.service runs (process 123) and does not answer';
    const error = await planFor(database, asked, {
      tasks: () => ({ kind: 'unknown', problem }),
    }).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(HostError);
    expect((error as HostError).message).toBe(
      `cannot tell which jobs are stuck; nothing was changed: ${problem}`,
    );
    expect((error as HostError).failure.next).toContain('`evidence: age`');
  });

  test.each([
    ['no such unit', unitFact({ loadState: 'not-found' }), 'no such unit'],
    [
      'a unit that hides its worker',
      unitFact({
        processes: [],
        fragment: fileFact('[Service]\nExecStart=/srv/run.sh\n'),
        properties: { ExecStart: '{ path=/srv/run.sh ; argv[]=/srv/run.sh ; ignore_errors=no ; }' },
        programs: { '/srv/run.sh': { exists: true, shebang: '#!/bin/sh' } },
      }),
      'cannot read the Celery app from the ExecStart',
    ],
  ])('%s: an error that names the alternative', async (_, unit, problem) => {
    using database = new AppDatabase();
    const error = await planFor(database, asked, { unit }).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(ConfigError);
    expect((error as ConfigError).message).toContain(problem);
    expect((error as ConfigError).expected).toContain('`evidence: age`');
    expect(changes(await planFor(database, { evidence: 'age' }, { unit }))).toEqual({});
  });
});

describe('live jobs', () => {
  test('a row whose task a worker holds, its mirror, and its ancestors', async () => {
    using database = new AppDatabase();
    twoLinks(database);
    const cleanUp = await planFor(database, asked, { tasks: told({ held: ['task-a-0'] }) });
    expect(changes(cleanUp)).toEqual({ 'link-a-1': 'failed', 'job-a': 'processing' });
    expect(findings(cleanUp)).toContain(
      'notice: skipped, still running: batches batch-a, batch_links link-a-0: a worker holds task task-a-0',
    );
  });

  test('a row whose task waits in the broker', async () => {
    using database = new AppDatabase();
    twoLinks(database);
    const tasks = told({ owed: ['task-a-0', 'task-a-1'] });
    const cleanUp = await planFor(database, asked, { tasks });
    expect(cleanUp.plan.operations).toEqual([]);
    expect(findings(cleanUp)).toContain('task task-a-0 is in the broker');
  });

  test('the task of a parent keeps a row without its own task alive', async () => {
    using database = new AppDatabase();
    const { links } = database.addBatch('a', { ago: day, links: [['completed', day]] });
    database.addVariation(links[0] ?? '', 'processing', day);
    const alive = await planFor(database, asked, { tasks: told({ held: ['task-a-0'] }) });
    expect(changes(alive)).toEqual({});
    const dead = await planFor(database, asked);
    expect(changes(dead)[`variation-link-a-0-${day}`]).toBe('failed');
  });

  test('a parent whose own task is alive does not end with its last child', async () => {
    using database = new AppDatabase();
    twoLinks(database);
    database.sql.exec("UPDATE batch_links SET celery_task_id = 'gone' || id");
    const cleanUp = await planFor(database, asked, { tasks: told({ held: ['task-a'] }) });
    expect(changes(cleanUp)).toMatchObject({ 'link-a-0': 'failed', 'link-a-1': 'failed' });
    expect(changes(cleanUp)).not.toMatchObject({ 'job-a': 'failed' });
  });

  test.each(['fail', 'delete', 'reset', 'finalise'] as const)(
    'also one that is named, with %s: a warning says so',
    async (action) => {
      using database = new AppDatabase();
      twoLinks(database);
      const wishes = { ...asked, action, ids: ['link-a-0'] };
      const cleanUp = await planFor(database, wishes, { tasks: told({ held: ['task-a-0'] }) });
      expect(cleanUp.plan.operations).toEqual([]);
      expect(findings(cleanUp)).toContain('warning: skipped, still running: batch_links link-a-0');
    },
  );

  test('a selected row whose message is queued becomes pending, and nothing is sent', async () => {
    using database = new AppDatabase();
    twoLinks(database);
    const wishes = { ...asked, action: 'reset', ids: ['link-a-0'] } as const;
    const cleanUp = await planFor(database, wishes, { tasks: told({ owed: ['task-a-0'] }) });
    expect(changes(cleanUp)).toMatchObject({ 'link-a-0': 'pending' });
    const change = repairOf(cleanUp).rows.find(({ id }) => id === 'link-a-0')?.change;
    expect(change).toEqual({ kind: 'update', set: { status: 'pending', started_at: null } });
    expect(findings(cleanUp)).not.toContain('pending starts nothing');
  });
});

describe('stuck jobs', () => {
  test('show their evidence in the table of rows and in the row', async () => {
    using database = new AppDatabase();
    twoLinks(database);
    const cleanUp = await planFor(database, asked);
    const row = cleanUp.repairs[0]?.rows.find(({ id }) => id === 'link-a-0');
    expect(row?.why).toBe(
      'no sign of life for 1 d; task task-a-0 is neither in a worker nor in a queue',
    );
    const change = repairOf(cleanUp).rows.find(({ id }) => id === 'link-a-0')?.change;
    expect(change).toMatchObject({
      set: {
        error_message:
          'stuck in processing for 1 d; task task-a-0 is neither in a worker nor in a queue; marked failed by celeriac, https://ci.example/runs/7',
      },
    });
  });

  test('are checked a second time, with their tasks and after a pause', async () => {
    using database = new AppDatabase();
    twoLinks(database);
    const cleanUp = await planFor(database, { ...asked, confirmAfterSeconds: seconds(60) });
    expect(cleanUp.pauseSeconds).toBe(60);
    expect(repairOf(cleanUp).lookAgain).toMatchObject({
      unit: 'celery-worker.service',
      interpreter: ['/usr/bin/python3'],
      app: 'celery_app',
      otherWorkers: otherWorkersIn('/srv/app'),
      tasks: [
        { group: 'jobs:job-a', task: 'task-a' },
        { group: 'jobs:job-a', task: 'task-a-0' },
        { group: 'jobs:job-a', task: 'task-a-1' },
      ],
    });
  });

  test('are found at once, at any age, if the worker is stopped', async () => {
    using database = new AppDatabase();
    database.add('jobs', {
      id: 'young',
      status: 'processing',
      celery_task_id: 'task-young',
      created_at: bySqlite(minute),
      started_at: byPython(minute),
    });
    // Nothing says that a worker is at work on it.
    database.add('video_jobs', { id: 'video', status: 'processing', created_at: bySqlite(minute) });
    // As alive as what is below it.
    database.addBatch('parent', { ago: minute, links: [['pending', minute]] });
    const answers = { unit: stoppedUnit, tasks: told({ worker: 'stopped' }) };
    const cleanUp = await planFor(database, asked, answers);
    expect(changes(cleanUp)).toEqual({ young: 'failed' });
    expect(cleanUp.pauseSeconds).toBe(0);
    expect(cleanUp.repairs[0]?.rows[0]?.why).toContain('celery-worker.service is stopped, task');
    const started = { unit: stoppedUnit, tasks: told({ worker: 'answers' }) };
    expect(changes(await planFor(database, asked, started))).toEqual({});
    const owed = { unit: stoppedUnit, tasks: told({ worker: 'stopped', owed: ['task-young'] }) };
    expect(changes(await planFor(database, asked, owed))).toEqual({});
  });
});

describe('finalise', () => {
  const ended = (database: AppDatabase, ...states: readonly string[]) =>
    database.addBatch('a', { ago: day, links: states.map((state) => [state, day] as const) });

  test.each([
    [['completed', 'failed'], 'completed'],
    [['failed', 'failed'], 'failed'],
    [['cancelled', 'cancelled'], 'failed'],
    [['cancelled', 'failed'], 'failed'],
  ])('a batch of %j is %s, and so is its job', async (states, becomes) => {
    for (const action of ['finalise', 'fail', 'reset', 'delete'] as const) {
      using database = new AppDatabase();
      ended(database, ...states);
      const cleanUp = await planFor(database, { ...asked, action });
      expect(changes(cleanUp)).toEqual({ 'job-a': becomes, 'batch-a': becomes });
    }
  });

  test('writes what failed and when it ended, and recounts', async () => {
    using database = new AppDatabase();
    ended(database, 'completed', 'failed');
    database.sql.exec('UPDATE jobs SET completed_links = 0, failed_links = 0');
    const cleanUp = await planFor(database, asked);
    expect(repairOf(cleanUp).rows.find(({ id }) => id === 'batch-a')?.change).toEqual({
      kind: 'update',
      set: {
        status: 'completed',
        completed_at: byPython(day),
        error_message:
          '1 of 2 batch_links failed; finalised by celeriac, https://ci.example/runs/7',
      },
    });
  });

  test('does nothing while rows are still expected, and does nothing else', async () => {
    using database = new AppDatabase();
    ended(database, 'completed', 'completed');
    database.sql.exec('UPDATE batches SET total_links = 3; UPDATE jobs SET total_links = 3');
    database.add('video_jobs', { id: 'video', status: 'processing', created_at: bySqlite(day) });
    const cleanUp = await planFor(database, { ...asked, action: 'finalise' });
    expect(changes(cleanUp)).toEqual({});
    expect(findings(cleanUp)).toContain('video_jobs: skipped 1 stuck row;');
    expect(cleanUp.plan.skippedRows).toBeGreaterThan(0);
  });

  test('does nothing while its own task is alive', async () => {
    using database = new AppDatabase();
    ended(database, 'completed');
    const cleanUp = await planFor(database, asked, { tasks: told({ owed: ['task-a'] }) });
    expect(changes(cleanUp)).toEqual({});
  });
});

describe('reset', () => {
  const spec = (tables: object) => ({
    database: null,
    stores: [{ database: path, where: 'input stores, line 1', tables: tables as never }],
  });
  const resend = { task: 'tasks.process_link', args: ['id', 'link_index'], queue: 'links' };

  const sent = ({ plan }: CleanUp): SendTasks | undefined =>
    plan.operations.find((each) => each.op === 'send-tasks');

  test('a task is sent again with a new id, which is stored in its row', async () => {
    using database = new AppDatabase();
    twoLinks(database);
    const wishes = { ...asked, action: 'reset', ...spec({ batch_links: { resend } }) } as const;
    const cleanUp = await planFor(database, wishes);
    const send = sent(cleanUp);
    expect(send).toMatchObject({ database: path, app: 'celery_app', title: 'send 2 tasks again' });
    expect(send?.calls).toMatchObject([
      { task: 'tasks.process_link', args: ['link-a-0', 0], queue: 'links' },
      { task: 'tasks.process_link', args: ['link-a-1', 0], queue: 'links' },
    ]);
    for (const { id, row } of send?.calls ?? []) {
      const change = repairOf(cleanUp).rows.find((each) => each.id === row.id);
      expect(change).toMatchObject({
        reset: `batch_links:${row.id}`,
        change: { set: { status: 'pending', started_at: null, celery_task_id: id } },
      });
    }
    // Nothing below or beside them has a task of its own to wait for.
    expect(findings(cleanUp)).toContain('(jobs, batches)');
  });

  test('only the top row of a tree is sent, so that nothing runs twice', async () => {
    using database = new AppDatabase();
    twoLinks(database);
    const whole = { task: 'tasks.process_batch', args: ['id'], queue: null };
    const tables = { jobs: { resend: whole }, batch_links: { resend } };
    const cleanUp = await planFor(database, { ...asked, action: 'reset', ...spec(tables) });
    expect(sent(cleanUp)?.calls).toMatchObject([{ task: 'tasks.process_batch', args: ['job-a'] }]);
    expect(findings(cleanUp)).not.toContain('pending starts nothing');
  });

  test('fails the row after max-resets', async () => {
    using database = new AppDatabase();
    database.add('jobs', { id: 'one', status: 'processing', created_at: bySqlite(day) });
    const wishes = { ...asked, action: 'reset', maxResets: 2 } as const;
    const becomes = async (times: number) =>
      changes(await planFor(database, wishes, { resets: { 'jobs:one': times } })).one;
    expect(await becomes(1)).toBe('pending');
    expect(await becomes(2)).toBe('failed');
    const cleanUp = await planFor(database, wishes, { resets: { 'jobs:one': 2 } });
    expect(repairOf(cleanUp).rows[0]?.change).toMatchObject({
      set: { error_message: expect.stringContaining('already reset 2 times; marked failed') },
    });
  });
});

describe('status words and time zones', () => {
  const schema = `CREATE TABLE work (key INTEGER PRIMARY KEY, state TEXT, begun TEXT, task_id TEXT);
    CREATE TABLE codes (id INTEGER PRIMARY KEY, status INTEGER, created_at TEXT, task_id TEXT);`;
  const tables = {
    work: {
      id: 'key',
      status: 'state',
      started: 'begun',
      words: { running: 'processing', waiting: 'pending', broken: 'failed', done: 'completed' },
    },
    codes: { words: { 0: 'pending', 1: 'processing', 2: 'completed', 3: 'failed' } },
  } as const;
  const wishes = {
    database: null,
    stores: [{ database: path, where: 'input stores, line 1', tables }],
  };

  test("the app's own words are read and written; numbers stay numbers", async () => {
    using database = new AppDatabase(schema);
    database.sql.exec(`INSERT INTO work VALUES (1, 'running', '${bySqlite(day)}', NULL);
      INSERT INTO work VALUES (2, 'done', '${bySqlite(day)}', NULL);
      INSERT INTO codes VALUES (1, 1, '${bySqlite(day)}', NULL), (2, 2, '${bySqlite(day)}', NULL)`);
    const cleanUp = await planFor(database, wishes);
    expect(repairOf(cleanUp).rows).toMatchObject([
      { table: 'work', key: 'key', id: 1, change: { set: { state: 'broken' } } },
      { table: 'codes', key: 'id', id: 1, change: { set: { status: 3 } } },
    ]);
  });

  test('an unknown status word is an error that names it', async () => {
    using database = new AppDatabase(schema);
    database.sql.exec("INSERT INTO work VALUES (1, 'frozen', NULL, NULL)");
    const error = await planFor(database, wishes).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(ConfigError);
    expect((error as ConfigError).message).toContain("has the status 'frozen', which `words`");
  });

  test('times without a zone are in the given zone', async () => {
    using database = new AppDatabase();
    // 15:00 in Berlin is 14:00 UTC, an hour ago; read as UTC it would be now.
    const started_at = '2026-01-18 15:00:00';
    const created_at = '2026-01-18 14:00:00';
    database.add('jobs', { id: 'local', status: 'processing', created_at, started_at });
    expect(changes(await planFor(database))).toEqual({});
    const cleanUp = await planFor(database, { timeZone: 'Europe/Berlin' });
    expect(repairOf(cleanUp).rows[0]?.change).toMatchObject({
      set: { completed_at: '2026-01-18 16:00:00' },
    });
  });
});

test('two stores with the same file are refused before anything is read', async () => {
  using database = new AppDatabase();
  const link = '/srv/app/link.db';
  const facts = [database.fact(), { ...database.fact(), path: link }];
  const agent = agentOf(facts, {});
  const stores = [path, link].map((each, index) => ({
    database: each,
    tables: {},
    where: `input stores, line ${index + 1}`,
  }));
  const tools = { agent, openStore: openStoreHere, newTaskId };
  const error = await planCleanUp(tools, desire({ database: null, stores })).catch(
    (thrown: unknown) => thrown,
  );
  expect((error as ConfigError).where).toBe('input stores, line 2');
  expect((error as ConfigError).message).toContain('are the same database');
  expect(agent.asked).toHaveLength(1);
});

test('a database that is not copied completely is not backed up: the journal keeps the rows', async () => {
  using database = new AppDatabase();
  database.add('jobs', { id: 'one', status: 'processing', created_at: bySqlite(2 * hour) });
  const { plan } = await planFor(database, {}, { holds: 'rows' });
  expect(plan.operations.map(({ op }) => op)).toEqual(['repair-jobs']);
});
