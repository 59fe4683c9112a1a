import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Machine, startMachine } from '../../sandbox/machine.ts';
import type { JobReport, JobRequest } from '../../src/model/outcome.ts';
import { seconds } from '../../src/model/units.ts';
import { renderProgress } from '../../src/report/progress.ts';
import { Hand } from './lib/hand.ts';
import { SUPPORT_FOLDER, startSupportedUnit, supportedUnit } from './lib/units.ts';
import { BACKEND, shell, show as showUnit, UNIT, waitUntil } from './lib/worker.ts';

const QUEUES = ['celery', 'batch', 'links', 'variations'];

const APP = {
  unit: UNIT,
  interpreter: ['/usr/bin/python3'],
  app: 'celery_app',
  pythonPath: [SUPPORT_FOLDER],
  timeoutSeconds: seconds(90),
} as const;

const BATCH = {
  kind: 'http',
  method: 'POST',
  url: 'http://127.0.0.1/api/batch',
  form: { links: 'https://example.com/1\nhttps://example.com/2', seconds: '0.2' },
  pollUrl: 'http://127.0.0.1/api/batch/{batch_id}/status',
  field: 'status',
  done: ['completed'],
  failed: ['failed', 'cancelled'],
  timeoutSeconds: seconds(90),
} as const;

let machine: Machine;
let hand: Hand;

beforeAll(async () => {
  machine = await startMachine({ name: 'submit' });
  await startSupportedUnit(machine, supportedUnit(QUEUES.join(',')));
  hand = await Hand.open(machine, 'deploy');
});

afterAll(async () => {
  await hand?.agent.close();
  await machine?.stop();
});

async function submit(
  request: JobRequest,
  onNote: (note: string) => void = () => {},
): Promise<JobReport & { notes: readonly string[] }> {
  const notes: string[] = [];
  const report = await hand.agent.submit(request, (progress) => {
    const note = renderProgress(progress);
    if (note === null) return;
    notes.push(note);
    onNote(note);
  });
  return { ...report, notes };
}

/** The worker stands still until it is said that it is waited for. */
async function submitUntilNoted(request: JobRequest, waits: string): ReturnType<typeof submit> {
  const main = await show('MainPID');
  await machine.run(`kill -STOP ${main}`);
  let goOn: Promise<unknown> | undefined;
  const report = await submit(request, (note) => {
    if (note.includes(waits)) goOn ??= machine.run(`kill -CONT ${main}`);
  });
  await goOn;
  return report;
}

const canaries = (queues: readonly string[], changes: Partial<typeof APP> = {}) =>
  submit({ kind: 'canary', ...APP, ...changes, queues });

const output = (command: string) => shell(machine, command);

/** While its main process stands still, what is sent waits. */
async function whileFrozen<Result>(work: () => Promise<Result>): Promise<Result> {
  const main = await show('MainPID');
  await machine.run(`kill -STOP ${main}`);
  try {
    // Redis would still hand it the first message: it was asked for one before.
    await waitUntil('nothing that it asked for is owed to it', async () => {
      const blocked = `redis-cli client list | sed -nE 's/.* addr=[^:]*:([0-9]+) .* flags=[a-zA-Z]*b.*/\\1/p'`;
      const owners = `for port in $(${blocked}); do ss -Htnp sport = :$port; done`;
      return !(await output(owners)).includes(`pid=${main},`);
    });
    return await work();
  } finally {
    await machine.run(`kill -CONT ${main}`);
  }
}

async function show(name: string): Promise<string> {
  return (await showUnit(machine, name))[name] ?? '';
}

/** What the broker holds for us: reply queues, and messages in queues. */
const left = () =>
  output("redis-cli --scan --pattern 'celeriac*'; redis-cli llen nobody; redis-cli llen links");

describe('canaries', () => {
  test('one for each queue is answered by this start of the unit', async () => {
    const queues = [...QUEUES, 'links'];
    const report = await canaries(queues);
    expect(report).toMatchObject({ ok: true, problem: null });
    expect(report.jobs.map((job) => job.where)).toEqual(queues);
    const children = await output('pgrep -P $(systemctl show celery-worker -p MainPID --value)');
    for (const job of report.jobs) {
      expect(job).toMatchObject({ state: 'done', detail: `answered by pid ${children} on vps` });
    }
    expect(await left()).toBe('0\n0');
  });

  test('a queue without a consumer times out, and nothing stays in the broker', async () => {
    const report = await canaries(['celery', 'nobody'], { timeoutSeconds: seconds(8) });
    expect(report.ok).toBe(false);
    expect(report.problem).toBe('no worker answered on nobody within 8 s');
    expect(report.jobs.map((job) => job.state)).toEqual(['done', 'timed-out']);
    expect(report.jobs[1]?.detail).toContain('it is still queued; its canary was removed');
    expect(report.jobs.map(({ place }) => place)).toEqual(['done', 'queued']);
    // The first may be from before it came back.
    expect(report.notes.at(-1)).toMatch(/^ {2}1 of 2 probes done; queued: nobody \(after /);
    expect(await left()).toBe('0\n0');
  });

  test('answers of another worker do not count', { tags: ['nightly'] }, async () => {
    await machine.run(`
      cd ${BACKEND}
      PYTHONPATH=${SUPPORT_FOLDER} setsid nohup celery -A celery_app worker -I celeriac_support -l info \
        -n other@vps -c 1 -Q links >/tmp/other.log 2>&1 </dev/null &
    `);
    await waitUntil('the other worker is ready', async () =>
      (await output('cat /tmp/other.log')).includes(' ready'),
    );
    const mute = await whileFrozen(() => canaries(['links'], { timeoutSeconds: seconds(8) }));
    expect(mute.problem).toBe('only other workers answered on links within 8 s');
    expect(mute.jobs[0]?.detail).toMatch(/: pid \d+ on vps/);
    // Both take from the queue now: it is asked until ours has answered.
    const both = await canaries(['links', 'links', 'links']);
    expect(both).toMatchObject({ ok: true, problem: null });
    await machine.run("pkill -TERM -o -f 'other@[v]ps'");
    expect((await left()).split('\n').slice(0, -1)).toEqual(['0']);
  });

  test('a failure before a canary is sent is one sentence', async () => {
    const missing = await canaries(['celery'], { app: 'no_such_app' as 'celery_app' });
    expect(missing).toMatchObject({
      ok: false,
      jobs: [],
      problem:
        "the app no_such_app does not import: ModuleNotFoundError: No module named 'no_such_app'",
    });
    expect(missing.evidence?.at(-1)).toBe("ModuleNotFoundError: No module named 'no_such_app'");
    const interpreter = ['/opt/none/python'] as unknown as typeof APP.interpreter;
    expect((await canaries(['celery'], { interpreter })).problem).toBe(
      'could not start /opt/none/python: No such file or directory',
    );
    const unit = 'no-such.service' as typeof APP.unit;
    expect((await canaries(['celery'], { unit })).problem).toBe(
      'no-such.service is inactive: no worker can answer',
    );
    await machine.run(`
      mkdir -p /run/systemd/system/celery-worker.service.d
      printf '[Service]\\nEnvironment=SLIDESHOW_BROKER=redis://:sesame@127.0.0.1:6390/0\\n' \
        >/run/systemd/system/celery-worker.service.d/broker.conf
      systemctl daemon-reload
    `);
    const refused = await canaries(['celery']);
    await machine.run('rm -r /run/systemd/system/celery-worker.service.d; systemctl daemon-reload');
    expect(refused.problem).toContain('cannot reach the broker redis://:**@127.0.0.1:6390/0: ');
    expect(refused.problem).toContain('refused');
    expect(JSON.stringify(refused)).not.toContain('sesame');
  });
});

describe('a task of the app', () => {
  const callOf = (calls: readonly (readonly unknown[])[], changes: Partial<typeof APP> = {}) =>
    ({
      kind: 'task',
      ...APP,
      ...changes,
      task: 'tasks.process_job',
      queue: null,
      calls: calls.map((args) => ({ args })),
    }) satisfies JobRequest;

  test('several calls are waited for', async () => {
    const calls = callOf([
      [null, 0.1],
      [null, 0.2],
    ]);
    const report = await submitUntilNoted(calls, '0 of 2 probes done');
    expect(report).toMatchObject({ ok: true, problem: null });
    expect(report.jobs.map((job) => job.state)).toEqual(['done', 'done']);
    for (const job of report.jobs) {
      // Its result is taken away again.
      expect(await output(`redis-cli exists celery-task-meta-${job.id}`)).toBe('0');
    }
  });

  test('a failure has its exception, a time-out its last state', async () => {
    const failed = await submit(callOf([[null, 0, 0, 'error']]));
    expect(failed.problem).toBe(
      '1 of 1 calls of tasks.process_job did not succeed: FAILURE: WorkError: asked to fail',
    );
    const brief = { timeoutSeconds: seconds(2) };
    const slow = await whileFrozen(() => submit(callOf([[null, 0.1]], brief)));
    expect(slow.jobs[0]).toMatchObject({ state: 'timed-out' });
    expect(slow.jobs[0]?.detail).toContain('not done within 2 s, last state PENDING');
  });
});

describe('a task of an app with `rpc://`', () => {
  const settings = `${BACKEND}/celery_config.py`;
  const call = {
    kind: 'task',
    ...APP,
    task: 'tasks.process_job',
    queue: null,
    calls: [{ args: [null, 0.1] }, { args: [null, 0.2] }],
  } satisfies JobRequest;
  /** Everything in the broker that an unread answer would be in. */
  const keys = () => output('redis-cli --scan | grep -Ev "^_kombu|^unacked_mutex$" | sort');

  beforeAll(async () => {
    await machine.run(`
      cp ${settings} /root/celery_config.before
      sed -i "s|^result_backend = .*|result_backend = 'rpc://'|" ${settings}
      systemctl restart ${UNIT}
    `);
  });

  afterAll(async () => {
    await machine?.run(`cp /root/celery_config.before ${settings}; systemctl restart ${UNIT}`);
  });

  test('is waited for, and its answers and their queue are removed', async () => {
    const before = await keys();
    const report = await submit(call);
    expect(report).toMatchObject({ ok: true, problem: null });
    expect(report.jobs.map(({ state }) => state)).toEqual(['done', 'done']);
    expect(await keys()).toBe(before);
  });

  test('a failure has its exception, and leaves no answer either', async () => {
    const before = await keys();
    const failed = await submit({ ...call, calls: [{ args: [null, 0, 0, 'error'] }] });
    expect(failed.problem).toBe(
      '1 of 1 calls of tasks.process_job did not succeed: FAILURE: WorkError: asked to fail',
    );
    expect(await keys()).toBe(before);
  });
});

describe('an HTTP call', () => {
  test('a batch is followed to its end', async () => {
    const report = await submitUntilNoted(BATCH, 'status ');
    expect(report).toMatchObject({ ok: true, problem: null });
    expect(report.jobs[0]).toMatchObject({
      where: 'POST http://127.0.0.1/api/batch',
      state: 'done',
      detail: expect.stringContaining('status completed'),
    });
    expect(report.notes[0]).toMatch(/waiting: POST \S+ \(status (?:pending|processing)/);
  });

  test('a failed batch, a refused form, a missing field', async () => {
    const failed = await submit({ ...BATCH, form: { ...BATCH.form, failure: 'error' } });
    expect(failed.jobs[0]).toMatchObject({ state: 'failed' });
    expect(failed.problem).toContain('status failed');
    const refused = await submit({ ...BATCH, form: {} });
    expect(refused.problem).toContain('answered HTTP 400');
    const odd = await submit({ ...BATCH, pollUrl: 'http://127.0.0.1/api/{nothing}' });
    expect(odd.problem).toContain("the response has no field 'nothing'");
    const deaf = await submit({ ...BATCH, url: 'http://127.0.0.1:9/' });
    expect(deaf.problem).toBe('POST http://127.0.0.1:9/: connection refused');
  });

  test('one that never ends times out with its last status', async () => {
    const report = await whileFrozen(() => submit({ ...BATCH, timeoutSeconds: seconds(2) }));
    expect(report.jobs[0]).toMatchObject({ state: 'timed-out' });
    expect(report.problem).toMatch(/not done within 2 s; last: status (pending|processing)/);
  });
});

test('the program exits with the runner, and removes its canary', async () => {
  const own = await Hand.open(machine);
  const gone = own.agent
    .submit({ kind: 'canary', ...APP, queues: ['nobody'], timeoutSeconds: seconds(600) }, () => {})
    .catch((error: unknown) => error);
  const senders = () => output("pgrep -fc '^/usr/bin/python3 -c .import sys, types' || true");
  await expect.poll(senders, { timeout: 90_000 }).toBe('1');
  await expect.poll(() => output('redis-cli llen nobody'), { timeout: 90_000 }).toBe('1');
  await own.agent.close();
  await gone;
  await expect.poll(senders, { timeout: 90_000 }).toBe('0');
  expect(await output('redis-cli llen nobody')).toBe('0');
});
