import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startMachine } from '../../sandbox/machine.ts';
import { supportModuleText } from '../../src/action/support-module.ts';
import { seconds } from '../../src/model/units.ts';
import { Hand, messages, type PlainOperation, statuses } from './hand.ts';
import { BACKEND, makeJob, readJob, sendJobs, UNIT, UNIT_PATH, waitUntil } from './lib/worker.ts';

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
    const jobs = [30, 1, 1].map((each) => makeJob(each));
    const [first] = jobs;
    await sendJobs(hand.machine, jobs);
    await waitUntil('the first is begun', () => isStarted(first?.id ?? ''));
    console.log(
      await hand.shell(
        `redis-cli llen celery; redis-cli hlen unacked; cd ${BACKEND}; celery -A celery_app inspect -j reserved; celery -A celery_app inspect -j active; journalctl -u celery-worker -n 40 -o cat`,
      ),
    );
    const outcome = await hand.commit([guard, drain()]);
    console.log(JSON.stringify(outcome), hand.notes);
    expect(messages(outcome)[1]).toMatch(
      /^celery-worker\.service takes no more tasks, and its 3 tasks ended within \d+ s$/,
    );
    expect(outcome.steps[1]?.result).toMatchObject({ drained: true, left: [] });
    expect(hand.notes.join('\n')).toMatch(
      /^celery-worker: 3 tasks still running, \d+ s of 60; oldest process_job [0-9a-f]{4}… \d+ s$/m,
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
    await waitUntil('the late one is done', () => isCompleted(late.id));
    expect(statuses(await hand.commit([drain(), stop]))).toEqual(['done', 'done']);
    expect(statuses(await hand.commit([drain()]))).toEqual(['already']);
    await hand.commit([start]);
  });
});
