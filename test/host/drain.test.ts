import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startMachine } from '../../sandbox/machine.ts';
import { supportModuleText } from '../../src/action/support-module.ts';
import { proposeMapping } from '../../src/jobs/mapping.ts';
import { seconds } from '../../src/model/units.ts';
import { describeRestart } from '../../src/report/restart.ts';
import { Hand, messages, type PlainOperation, statuses } from './hand.ts';
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
  await hand.shell(`systemctl daemon-reload; systemctl start ${UNIT} ${OTHER}`);
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
const guard: PlainOperation = { op: 'guard-unit', unit: UNIT };
const stop: PlainOperation = { op: 'stop-unit', unit: UNIT, timeoutSeconds: seconds(90) };
const start: PlainOperation = { op: 'start-unit', unit: UNIT, timeoutSeconds: seconds(60) };
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
/** Node → queues, as every worker on the broker tells them. */
const consumed = async (): Promise<Record<string, readonly string[]>> => {
  const text = await hand.shell(
    `cd ${BACKEND} && celery -A celery_app inspect -j active_queues --timeout 3`,
  );
  const said = JSON.parse(text.split('\n').at(-1) ?? '') as Record<string, { name: string }[]>;
  return Object.fromEntries(
    Object.entries(said).map(([node, queues]) => [node, queues.map(({ name }) => name).sort()]),
  );
};

describe('drain-worker', () => {
  test('ends every task that the worker has, and leaves the other worker alone', async () => {
    const others = await mainPid(OTHER);
    // Long enough to be still running when a slow machine has come to look.
    const jobs = [80, 1, 1].map((each) => makeJob(each));
    const [first] = jobs;
    await sendJobs(hand.machine, jobs);
    await waitUntil('the first is begun', () => isStarted(first?.id ?? ''));
    const outcome = await hand.commit([guard, drain('proceed', 150)]);
    expect(messages(outcome)[1]).toMatch(
      /^celery-worker\.service takes no more tasks, and its 3 tasks ended within \d+ s$/,
    );
    expect(outcome.steps[1]?.result).toMatchObject({ drained: true, left: [] });
    expect(hand.notes.join('\n')).toMatch(
      /^celery-worker: 3 tasks still running, \d+ s of 150; oldest process_job [0-9a-f]{4}… \d+ s$/m,
    );
    for (const { id } of jobs) expect(await isCompleted(id)).toBe(true);
    const late = makeJob(0.1);
    await sendJobs(hand.machine, [late]);
    const queues = await consumed();
    expect(Object.values(queues).toSorted()).toEqual([[], ['batch', 'variations']]);
    expect(await mainPid(OTHER)).toBe(others);
    expect(await waiting()).toBe(1);
    // Again: nothing is left to do; and the next worker takes what came meanwhile.
    const again = await hand.commit([guard, drain(), stop, start]);
    expect(messages(again)[1]).toContain('it had no task');
    expect(describeRestart(again).downtimeSeconds).toBeGreaterThan(0);
    await waitUntil('the late one is done', () => isCompleted(late.id));
    expect(statuses(await hand.commit([drain(), stop]))).toEqual(['done', 'done']);
    expect(statuses(await hand.commit([drain()]))).toEqual(['already']);
    await hand.commit([start]);
  });

  test('aborted: the queues are given back, and the worker never stopped', async () => {
    const main = await mainPid();
    const job = makeJob(100);
    await sendJobs(hand.machine, [job]);
    await waitUntil('it is begun', () => isStarted(job.id));
    const outcome = await hand.apply([guard, drain('abort', 3), stop, start]);
    expect(outcome.result).toBe('undone');
    expect(outcome.failure?.message).toMatch(
      /^celery-worker\.service is not drained: 1 task still running, after \d+ s \(drain-policy: abort\)$/,
    );
    expect(outcome.failure?.evidence?.[0]).toMatch(/^process_job /);
    expect(hand.notes.join('\n')).toContain('celery-worker.service consumes celery, links again');
    expect(await mainPid()).toBe(main);
    expect(Object.values(await consumed()).toSorted()).toEqual([
      ['batch', 'variations'],
      ['celery', 'links'],
    ]);
    await waitUntil('the job is done', () => isCompleted(job.id));
  });

  test('told to end meanwhile: the queues are given back', { tags: ['nightly'] }, async () => {
    const main = await mainPid();
    const job = makeJob(60);
    await sendJobs(hand.machine, [job]);
    await waitUntil('it is begun', () => isStarted(job.id));
    const before = hand.progress.length;
    const running = hand.apply([guard, drain('wait', 300, 300)]);
    await waitUntil('it waits', async () =>
      hand.progress
        .slice(before)
        .some((each) => each.kind === 'note' && each.message.includes('still running')),
    );
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
    await waitUntil('the job is done', () => isCompleted(job.id));
  });
});

describe('what dead workers left', () => {
  test('a job is failed, but for one that a message is left for; undone, it is as it was', async () => {
    await hand.commit([stop]);
    const [lost, queued, unacked] = [makeJob(0.1), makeJob(0.1), makeJob(0.1)] as const;
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
