import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startMachine } from '../../sandbox/machine.ts';
import { otherWorkersIn } from '../../src/celery/worker-process.ts';
import { seconds } from '../../src/model/units.ts';
import { describeRestart } from '../../src/report/restart.ts';
import { supportModuleText } from '../../src/use-case/support-module.ts';
import { Hand, messages, type PlainOperation, statuses } from './lib/hand.ts';
import { beginHeldJob, holdJobs, installHeldJobs } from './lib/held-jobs.ts';
import {
  BACKEND,
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
ExecStart=/usr/bin/celery -A celery_app worker -I celeriac_support --concurrency=1 --prefetch-multiplier=3 --without-gossip --without-mingle --loglevel=info ${options}
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
  undoTimeoutSeconds: seconds(600),
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
const consumed = async (workers = 2): Promise<Record<string, readonly string[]>> => {
  const ask = `import json; from celery_app import celery_app as app
print(json.dumps(app.control.inspect(timeout=60, limit=${workers}).active_queues()))`;
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
  test('waits for every task of the worker, and does not affect the other worker', async () => {
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
      /^celery-worker\.service stopped consuming; 3 tasks finished within \d+ s$/,
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
    expect(messages(again)[1]).toContain('no task was running');
    expect(describeRestart(again).downtimeSeconds).toBeGreaterThan(0);
    await waitUntil('the late one is done', () => isCompleted(late.id));
    expect(statuses(await hand.commit([drain(), stop]))).toEqual(['done', 'done']);
    expect(statuses(await hand.commit([drain()]))).toEqual(['already']);
  });

  test('aborted: the worker consumes again, and is never stopped', async () => {
    const main = await mainPid();
    const { id, letGo } = await beginHeldJob(hand.machine);
    const known = hand.notes.length;
    const outcome = await hand.apply([guard, drain('abort', 3), stop, start]);
    expect(outcome.result).toBe('undone');
    expect(outcome.failure?.message).toMatch(
      /^celery-worker\.service not drained: 1 task still running, after \d+ s \(drain-policy: abort\)$/,
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

  test('told to end in the meantime: the worker consumes again', {
    tags: ['nightly'],
  }, async () => {
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
    expect(outcome.failure?.message).toContain('interrupted by a signal on the host');
    expect(await mainPid()).toBe(main);
    expect(Object.values(await consumed()).toSorted()).toEqual([
      ['batch', 'variations'],
      ['celery', 'links'],
    ]);
    await letGo();
    await waitUntil('the job is done', () => isCompleted(id));
  });
});

describe.each(['threads', 'solo'])('a worker whose pool is %s', { tags: ['nightly'] }, (pool) => {
  beforeAll(async () => {
    await hand.machine.writeFile(UNIT_PATH, unitText(`-Q celery,links --pool=${pool}`));
  });

  afterAll(async () => {
    await hand.machine.writeFile(UNIT_PATH, unitText('-Q celery,links'));
  });

  test('finishes its task before it is stopped, and the next worker takes the others', async () => {
    const { jobs: held, letGo } = await holdJobs(hand.machine);
    const jobs = [...held, makeJob(0), makeJob(0)];
    await sendJobs(hand.machine, jobs);
    await waitUntil('the first is begun', () => isStarted(jobs[0]?.id ?? ''));
    const known = hand.notes.length;
    const draining = hand.commit([guard, drain('wait', 120), stop, start]);
    await Promise.race([draining, drainWaits(known)]);
    expect(await isCompleted(jobs[0]?.id ?? '')).toBe(false);
    await letGo();
    const outcome = await draining;
    console.log(hand.notes.slice(known), messages(outcome));
    expect(statuses(outcome)).toEqual(['done', 'done', 'done', 'done']);
    for (const { id } of jobs) await waitUntil('it is done', () => isCompleted(id));
  });
});

describe('a worker without the support module, before Celery 5.7', () => {
  const fails: PlainOperation = {
    op: 'try-app',
    unit: UNIT,
    app: byTheApp.app,
    modules: [],
    directory: null,
    interpreter: ['/bin/false'],
    timeoutSeconds: seconds(60),
  };
  const todo = `run \`systemctl restart ${UNIT}\` when it is idle: its Celery would no longer consume celery, links after a reconnect to the broker`;
  const takesJobs = async () => {
    const job = makeJob(0.1);
    await sendJobs(hand.machine, [job]);
    await waitUntil('a job is done', () => isCompleted(job.id));
  };

  beforeAll(async () => {
    const text = unitText('-Q celery,links').replace(' -I celeriac_support', '');
    const plain = text.replace('Type=notify', 'Type=simple').replace('Environment=', '#');
    await hand.machine.writeFile(UNIT_PATH, plain);
  });

  afterAll(() => hand.machine.writeFile(UNIT_PATH, unitText('-Q celery,links')));

  test('idle after a failed deploy: restarted, so that it also consumes after a reconnect', {
    tags: ['nightly'],
  }, async () => {
    const main = await mainPid();
    const outcome = await hand.apply([guard, drain(), fails]);
    expect(outcome.result).toBe('undone');
    expect(messages(outcome)[0]).toMatch(/^celery-worker\.service serves again \(main \d+, /);
    expect(outcome.steps.some((step) => 'todo' in step)).toBe(false);
    expect(await mainPid()).not.toBe(main);
    await hand.shell('systemctl restart redis-server');
    await takesJobs();
  });

  test('with a task: never stopped, and the command that is left is reported', {
    tags: ['nightly'],
  }, async () => {
    const main = await mainPid();
    const { id, letGo } = await beginHeldJob(hand.machine);
    const outcome = await hand.apply([guard, drain('abort', 3), stop, start]);
    expect(outcome.result).toBe('undone');
    expect(outcome.steps.flatMap((step) => step.todo ?? [])).toEqual([todo]);
    expect(await mainPid()).toBe(main);
    await letGo();
    await waitUntil('the job is done', () => isCompleted(id));
    await takesJobs();
    await hand.shell(`systemctl restart ${UNIT} && systemctl restart redis-server`);
    await takesJobs();
  });
});

/** What a run of it wrote of its end: told to take no more, told to end. */
const endsOf = async (run: string): Promise<readonly string[]> => {
  const log = await hand.shell(
    `journalctl --sync; journalctl _SYSTEMD_INVOCATION_ID=${run} -o cat --no-pager`,
  );
  const words = log.match(/Canceling queue celery$|Warm shutdown/gm) ?? [];
  return words.filter((word, index) => word !== words[index - 1]);
};
const invocation = () => hand.shell(`systemctl show -P InvocationID ${UNIT}`);
const cancelledThenStopped = ['Canceling queue celery', 'Warm shutdown'];

describe('stop-unit, of a worker that was not drained', () => {
  const dropIn = `/etc/systemd/system/${UNIT}.d/test.conf`;
  const define = async (text: string) => {
    await hand.shell(`mkdir -p ${dropIn.slice(0, dropIn.lastIndexOf('/'))}`);
    await hand.machine.writeFile(dropIn, text);
    await hand.shell('systemctl daemon-reload');
  };
  const undefine = () => hand.shell(`rm -f ${dropIn}; systemctl daemon-reload`);

  test('its consumers are cancelled, then it is stopped', async () => {
    const run = await invocation();
    const stopped = await hand.commit([stop]);
    expect(messages(stopped)).toEqual([`${UNIT} stopped, no process left`]);
    expect(await endsOf(run)).toEqual(cancelledThenStopped);
    expect(Object.values(await consumed(1))).toEqual([['batch', 'variations']]);
    await hand.commit([start]);
  });

  test('of two workers with one name, only that of the unit is told', {
    tags: ['nightly'],
  }, async () => {
    const text = await hand.machine.readFile(`/etc/systemd/system/${OTHER}`);
    await hand.machine.writeFile(`/etc/systemd/system/${OTHER}`, text.replace('-n other@%%h', ''));
    await hand.shell(`systemctl daemon-reload; systemctl restart ${OTHER}`);
    const run = await invocation();
    // What counts are its own tasks, not those of the other one, which is idle.
    const { id, letGo } = await beginHeldJob(hand.machine);
    const outcome = await hand.apply([guard, drain('abort', 3), stop, start]);
    expect(outcome.failure?.message).toMatch(/not drained: 1 task still running, after \d+ s/);
    expect(await invocation()).toBe(run);
    await letGo();
    await waitUntil('the job is done', () => isCompleted(id));
    const stopped = await hand.commit([guard, drain(), stop]);
    expect(messages(stopped)[1]).toMatch(/stopped consuming; no task was running$/);
    expect(messages(stopped)[2]).toBe(`${UNIT} stopped, no process left`);
    expect(await endsOf(run)).toEqual(cancelledThenStopped);
    expect(Object.values(await consumed(1))).toEqual([['batch', 'variations']]);
    await hand.commit([start]);

    // And it alone gets them back.
    await define('[Unit]\nRefuseManualStop=yes\n');
    const main = await mainPid();
    expect((await hand.refuse([stop])).message).toMatch(/; it consumes celery, links again$/);
    expect(await mainPid()).toBe(main);
    await undefine();
    await hand.machine.writeFile(`/etc/systemd/system/${OTHER}`, text);
    await hand.shell(`systemctl daemon-reload; systemctl restart ${OTHER}`);
    expect(Object.values(await consumed()).toSorted()).toEqual([
      ['batch', 'variations'],
      ['celery', 'links'],
    ]);
  });

  test('refused by systemd: the worker consumes again, permanently', {
    tags: ['nightly'],
  }, async () => {
    await define('[Unit]\nRefuseManualStop=yes\n');
    const main = await mainPid();
    const failure = await hand.refuse([stop]);
    expect(failure.message).toMatch(/could not stop .*; it consumes celery, links again$/);
    await undefine();
    expect(await endsOf(await invocation())).toEqual(cancelledThenStopped.slice(0, 1));
    await hand.shell('systemctl restart redis-server');
    const job = makeJob(0.1);
    await sendJobs(hand.machine, [job]);
    await waitUntil('a job is done', () => isCompleted(job.id));
    expect(await mainPid()).toBe(main);
  });

  test('found by its running configuration, not by its current unit file', async () => {
    await define('[Service]\nEnvironment=SLIDESHOW_BROKER=redis://127.0.0.1:9/0\n');
    const stopped = await hand.commit([stop]);
    expect(messages(stopped)).toEqual([`${UNIT} stopped, no process left`]);
    await undefine();
    await hand.commit([start]);
  });

  test('that cannot be reached: it is stopped anyway, and the reason is reported', {
    tags: ['nightly'],
  }, async () => {
    const refuse = async (interpreter: readonly string[], app = 'celery_app') => {
      const stopped = await hand.commit([{ ...stop, interpreter, app } as PlainOperation]);
      expect(stopped.result).toBe('committed');
      await hand.commit([start]);
      const said =
        /could not cancel its consumers first \((.*)\): a task that was sent at that moment may be lost$/;
      return said.exec(messages(stopped)[0] ?? '')?.[1];
    };
    const broker = (port: number) => [
      '/usr/bin/env',
      `SLIDESHOW_BROKER=redis://127.0.0.1:${port}/0`,
    ];
    const [python] = byTheApp.interpreter;
    expect(await refuse([python], 'no_such_app')).toMatch(/^the app no_such_app does not import: /);
    expect(await refuse([...broker(9), python])).toMatch(
      /^cannot reach the broker redis:\/\/127\.0\.0\.1:9\/0: .*Connection refused/,
    );
    // It takes connections and never answers.
    await hand.shell(
      `systemd-run -q --collect --unit=silent python3 -c "import socket, time; s = socket.create_server(('127.0.0.1', 7777)); time.sleep(3600)"`,
    );
    expect(await refuse([...broker(7777), python])).toBe(
      'no answer within 10 s while connecting to the broker',
    );
    await hand.shell('systemctl stop silent');
  });
});

test('guard-unit cancels the consumers before it restarts a worker', async () => {
  const fails: PlainOperation = {
    op: 'try-app',
    unit: UNIT,
    app: byTheApp.app,
    modules: [],
    directory: null,
    interpreter: ['/bin/sh', '-c', 'until [ -e /run/fail ]; do sleep 0.2; done; exit 1', 'sh'],
    timeoutSeconds: seconds(600),
  };
  const before = hand.progress.length;
  const running = hand.apply([guard, fails]);
  await waitUntil('it is guarded', async () =>
    hand.progress.slice(before).some((each) => each.kind === 'step-started' && each.index === 1),
  );
  await hand.shell(`systemctl restart ${UNIT}`);
  const run = await invocation();
  await hand.shell('touch /run/fail');
  expect((await running).result).toBe('undone');
  expect(await endsOf(run)).toEqual(cancelledThenStopped);
  expect(Object.values(await consumed()).toSorted()).toEqual([
    ['batch', 'variations'],
    ['celery', 'links'],
  ]);
});

test('messages of dead workers are returned to their queues, unless somebody may hold them', async () => {
  await hand.commit([stop]);
  const unacked = makeJob(0);
  await leaveUnacked(hand.machine, unacked);
  // Somebody else's worker may hold it: told of, not touched.
  const restore: PlainOperation = {
    op: 'restore-unacked',
    ...byTheApp,
    otherWorkers: otherWorkersIn(BACKEND),
  };
  const kept = await hand.commit([restore, { op: 'find-unacked', ...byTheApp }]);
  expect(messages(kept)[0]).toContain(
    'not returned to their queues: other workers use this broker',
  );
  expect(kept.steps[1]?.result).toMatchObject({
    count: 1,
    tasks: { 'tasks.process_job': 1 },
    messages: [{ id: unacked.id, task: 'tasks.process_job', queue: 'celery' }],
  });
  // So are they where no transaction looks: after one that failed.
  const { undoTimeoutSeconds: _, ...app } = byTheApp;
  const { unacked: left } = await hand.agent.look({ unacked: app });
  expect(left).toMatchObject({
    kind: 'looked',
    count: 1,
    messages: [{ id: unacked.id, task: 'tasks.process_job', queue: 'celery' }],
  });
  const nowhere = { ...app, app: 'no_such_app' };
  expect((await hand.agent.look({ unacked: nowhere })).unacked).toMatchObject({
    kind: 'unknown',
    message: expect.stringMatching(/^could not look for messages of dead workers: .*no_such_app/),
  });
  await hand.shell(`systemctl stop ${OTHER}`);
  expect(await hand.shell('redis-cli hlen unacked')).toBe('1');
  const done = await hand.commit([restore]);
  expect(done.steps[0]?.result).toMatchObject({ count: 1, restored: 1 });
  expect(await hand.shell('redis-cli hlen unacked; redis-cli zcard unacked_index')).toBe('0\n0');
  expect(await waiting()).toBe(1);
});
