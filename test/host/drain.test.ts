import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startMachine } from '../../sandbox/machine.ts';
import { supportModuleText } from '../../src/action/support-module.ts';
import { proposeMapping } from '../../src/jobs/mapping.ts';
import { seconds } from '../../src/model/units.ts';
import { describeRestart } from '../../src/report/restart.ts';
import { Hand, messages, type PlainOperation, statuses } from './lib/hand.ts';
import { beginHeldJob, holdJobs, installHeldJobs } from './lib/held-jobs.ts';
import {
  BACKEND,
  DATABASE,
  leaveUnacked,
  makeJob,
  readJob,
  sendJobs,
  UNIT,
  UNIT_PATH,
  waitUntil,
} from './lib/worker.ts';

const OTHER = 'other-worker.service';
let hand: Hand;

/** A worker of the app that takes three messages at a time. */
const unitText = (options: string, more = '') => `[Unit]
Description=A worker
[Service]
Type=notify
NotifyAccess=main
WorkingDirectory=${BACKEND}
Environment=PYTHONPATH=/usr/local/lib/celeriac
ExecStart=/usr/bin/celery -A celery_app worker -I celeriac_support --concurrency=1 --prefetch-multiplier=3 --without-gossip --without-mingle ${options}
Restart=always
RestartSec=10
KillMode=mixed
TimeoutStopSec=60
${more}
[Install]
WantedBy=multi-user.target
`;

beforeAll(async () => {
  hand = await Hand.open(await startMachine({ name: 'drain', state: 'healthy' }));
  await hand.shell(`systemctl stop ${UNIT}; mkdir -p /usr/local/lib/celeriac`);
  const { machine } = hand;
  await machine.writeFile('/usr/local/lib/celeriac/celeriac_support.py', supportModuleText());
  await machine.writeFile(UNIT_PATH, unitText('-Q celery,links'));
  await machine.writeFile(
    `/etc/systemd/system/${OTHER}`,
    unitText('-Q batch,variations -n other@%%h'),
  );
  await installHeldJobs(machine);
});

beforeEach(async () => {
  await hand.shell(
    `redis-cli flushall; systemctl daemon-reload; systemctl restart ${UNIT} ${OTHER}`,
  );
});

afterAll(async () => {
  await hand?.stop();
});

const byTheApp = {
  unit: UNIT,
  interpreter: ['/usr/bin/python3'],
  app: 'celery_app',
  pythonPath: [],
} as const;
const guard: PlainOperation = { op: 'guard-unit', ...byTheApp };
const stop: PlainOperation = { op: 'stop-unit', ...byTheApp, timeoutSeconds: seconds(90) };
const start: PlainOperation = { op: 'start-unit', ...byTheApp, timeoutSeconds: seconds(60) };
const drain = (
  policy: 'proceed' | 'abort' | 'wait' = 'proceed',
  timeout = 60,
  stuck = 60,
): PlainOperation => ({
  op: 'drain-worker',
  ...byTheApp,
  policy,
  timeoutSeconds: seconds(timeout),
  stuckSeconds: seconds(stuck),
});

const mainPid = (unit = UNIT) => hand.shell(`systemctl show -P MainPID ${unit}`);
const waiting = async () => Number(await hand.shell('redis-cli llen celery'));
const isCompleted = async (id: string) => (await readJob(hand.machine, id))?.status === 'completed';
const isStarted = async (id: string) => (await readJob(hand.machine, id)) !== undefined;
/** Node → queues, as both workers on the broker tell them. */
const consumed = async (): Promise<Record<string, readonly string[]>> => {
  const ask = `import json; from celery_app import celery_app as app
print(json.dumps(app.control.inspect(timeout=60, limit=2).active_queues()))`;
  const text = await hand.shell(`cd ${BACKEND} && python3 -c '${ask}'`);
  const said = JSON.parse(text) as Record<string, { name: string }[]>;
  return Object.fromEntries(
    Object.entries(said).map(([node, queues]) => [node, queues.map(({ name }) => name).sort()]),
  );
};
/** Until it says that it waits for tasks. */
const drainWaits = (begun: number) =>
  waitUntil('it waits for tasks', async () =>
    hand.notes.slice(begun).some((message) => message.includes('still running')),
  );

describe('drain-worker', () => {
  test('ends every task that the worker has, and leaves the other worker alone', async () => {
    const others = await mainPid(OTHER);
    const { jobs: held, letGo } = await holdJobs(hand.machine);
    const jobs = [...held, makeJob(0), makeJob(0)];
    await sendJobs(hand.machine, jobs);
    await waitUntil('the first is begun', () => isStarted(jobs[0]?.id ?? ''));
    await waitUntil('the others are taken', async () => (await waiting()) === 0);
    const known = hand.notes.length;
    const draining = hand.commit([guard, drain('proceed', 600)]);
    await Promise.race([draining, drainWaits(known)]);
    await letGo();
    const outcome = await draining;
    expect(messages(outcome)[1]).toMatch(
      /^celery-worker\.service takes no more tasks, and its 3 tasks ended within \d+ s$/,
    );
    expect(outcome.steps[1]?.result).toMatchObject({ drained: true, left: [] });
    expect(hand.notes.slice(known).join('\n')).toMatch(
      /^celery-worker: 3 tasks still running, \d+ s of 600; oldest process_job [0-9a-f]{4}… \d+ s$/m,
    );
    for (const { id } of jobs) expect(await isCompleted(id)).toBe(true);
    const late = makeJob(0);
    await sendJobs(hand.machine, [late]);
    const queues = await consumed();
    expect(Object.values(queues).toSorted()).toEqual([[], ['batch', 'variations']]);
    expect(await mainPid(OTHER)).toBe(others);
    expect(await waiting()).toBe(1);
    // Again: nothing is left to do; and the next worker takes what has come since.
    const again = await hand.commit([guard, drain(), stop, start]);
    expect(messages(again)[1]).toContain('it had no task');
    expect(describeRestart(again).downtimeSeconds).toBeGreaterThan(0);
    await waitUntil('the late one is done', () => isCompleted(late.id));
    expect(statuses(await hand.commit([drain(), stop]))).toEqual(['done', 'done']);
    expect(statuses(await hand.commit([drain()]))).toEqual(['already']);
  });

  test('aborted: the queues are given back, and the worker never stopped', async () => {
    const main = await mainPid();
    const { id, letGo } = await beginHeldJob(hand.machine);
    const known = hand.notes.length;
    const outcome = await hand.apply([guard, drain('abort', 3), stop, start]);
    expect(outcome.result).toBe('undone');
    expect(outcome.failure?.message).toMatch(
      /^celery-worker\.service is not drained: 1 task still running, after \d+ s \(drain-policy: abort\)$/,
    );
    expect(outcome.failure?.evidence?.[0]).toMatch(/^process_job /);
    expect(hand.notes.slice(known)).toContainEqual(
      expect.stringContaining('celery-worker.service consumes celery, links again'),
    );
    expect(await mainPid()).toBe(main);
    expect(Object.values(await consumed()).toSorted()).toEqual([
      ['batch', 'variations'],
      ['celery', 'links'],
    ]);
    await letGo();
    await waitUntil('the job is done', () => isCompleted(id));
  });

  test('told to end meanwhile: the queues are given back', { tags: ['nightly'] }, async () => {
    const main = await mainPid();
    const { id, letGo } = await beginHeldJob(hand.machine);
    const known = hand.notes.length;
    const running = hand.apply([guard, drain('wait', 600, 600)]);
    await drainWaits(known);
    await hand.shell(
      'systemctl stop $(systemctl list-units --plain --no-legend "celeriac-*.scope" | cut -d" " -f1)',
    );
    const outcome = await running;
    expect(outcome.result).toBe('undone');
    expect(outcome.failure?.message).toContain('it was told to end');
    expect(await mainPid()).toBe(main);
    expect(Object.values(await consumed()).toSorted()).toEqual([
      ['batch', 'variations'],
      ['celery', 'links'],
    ]);
    await letGo();
    await waitUntil('the job is done', () => isCompleted(id));
  });
});

describe('what dead workers left', () => {
  test('a job is failed, but for one that a message is left for; undone, it is as it was', async () => {
    await hand.commit([stop]);
    const [lost, queued, unacked] = [makeJob(0), makeJob(0), makeJob(0)] as const;
    for (const { id } of [lost, queued, unacked]) {
      await hand.shell(
        `sqlite3 -cmd '.timeout 5000' ${DATABASE} "INSERT INTO jobs (id, status, celery_task_id, started_at) VALUES ('${id}', 'processing', '${id}', CURRENT_TIMESTAMP)"`,
      );
    }
    await sendJobs(hand.machine, [queued]);
    await leaveUnacked(hand.machine, unacked);
    const { stores } = await hand.agent.look({ stores: { unit: UNIT, databases: [DATABASE] } });
    const [store] = stores;
    if (store?.kind !== 'sqlite') throw new Error('no store');
    const settle: PlainOperation = {
      op: 'settle-jobs',
      ...byTheApp,
      database: DATABASE,
      mapping: proposeMapping(DATABASE, store.tables),
      action: 'fail',
      message: 'nobody had it any more',
      keepBackups: 2,
      busyTimeoutSeconds: seconds(10),
    };
    const before = await readJob(hand.machine, lost.id);
    const outcome = await hand.commit([settle]);
    expect(outcome.steps[0]?.result).toMatchObject({ changed: 1, owed: 2, held: 0, skipped: [] });
    expect(await readJob(hand.machine, lost.id)).toMatchObject({
      status: 'failed',
      error_message: 'nobody had it any more',
    });
    for (const { id } of [queued, unacked]) {
      expect((await readJob(hand.machine, id))?.status).toBe('processing');
    }
    await hand.undo(outcome.transaction);
    expect(await readJob(hand.machine, lost.id)).toEqual(before);

    // Somebody else's worker may hold it: told of, not touched.
    const restore: PlainOperation = { op: 'restore-unacked', ...byTheApp };
    const kept = await hand.commit([restore, { op: 'find-unacked', ...byTheApp }]);
    expect(messages(kept)[0]).toContain('not put back: other workers use this broker');
    expect(kept.steps[1]?.result).toMatchObject({
      count: 1,
      tasks: { 'tasks.process_job': 1 },
      messages: [{ id: unacked.id, task: 'tasks.process_job', queue: 'celery' }],
    });
    await hand.shell(`systemctl stop ${OTHER}`);
    expect(await hand.shell('redis-cli hlen unacked')).toBe('1');
    const done = await hand.commit([restore]);
    expect(done.steps[0]?.result).toMatchObject({ count: 1, restored: 1 });
    expect(await hand.shell('redis-cli hlen unacked; redis-cli zcard unacked_index')).toBe('0\n0');
    expect(await waiting()).toBe(2);
    // With the worker running nothing is settled.
    await hand.commit([start]);
    expect((await hand.refuse([settle])).message).toContain('its jobs may be alive');
  });
});
