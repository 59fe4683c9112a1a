import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Machine, startMachine } from '../../sandbox/machine.ts';
import type { JobReport, JobRequest } from '../../src/model/outcome.ts';
import { seconds } from '../../src/model/units.ts';
import { longTest } from '../lib/long.ts';
import { Hand } from './hand.ts';

const UNIT = `[Unit]
Description=Celery worker
After=redis-server.service

[Service]
Type=notify
NotifyAccess=main
Environment=PYTHONPATH=/opt/celeriac
WorkingDirectory=/root/slideshow/backend
ExecStart=/usr/bin/celery -A celery_app worker -I celeriac_support -l info --concurrency=1 -Q celery,batch,links,variations
KillMode=mixed
`;

const APP = {
  unit: 'celery-worker.service',
  interpreter: ['/usr/bin/python3'],
  app: 'celery_app',
  pythonPath: ['/opt/celeriac'],
  timeoutSeconds: seconds(90),
} as const;

const BATCH = {
  kind: 'http',
  method: 'POST',
  url: 'http://127.0.0.1/api/batch',
  form: { links: 'https://example.com/1\nhttps://example.com/2', seconds: '2' },
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
  const module = join(import.meta.dirname, '../../host/support/celeriac_support.py');
  await machine.run('mkdir -p /opt/celeriac');
  await machine.writeFile('/opt/celeriac/celeriac_support.py', readFileSync(module));
  await machine.writeFile('/etc/systemd/system/celery-worker.service', UNIT);
  await machine.run('systemctl daemon-reload && systemctl start celery-worker');
  hand = await Hand.open(machine, 'deploy');
});

afterAll(async () => {
  await hand?.agent.close();
  await machine?.stop();
});

async function submit(request: JobRequest): Promise<JobReport & { notes: readonly string[] }> {
  const notes: string[] = [];
  const report = await hand.agent.submit(request, (progress) => {
    if (progress.kind === 'note') notes.push(progress.message);
  });
  return { ...report, notes };
}

const canaries = (queues: readonly string[], changes: Partial<typeof APP> = {}) =>
  submit({ kind: 'canary', ...APP, ...changes, queues });

const output = async (command: string) => (await machine.run(command)).stdout.trim();

/** What the broker holds for us: reply queues, and messages in queues. */
const left = () =>
  output("redis-cli --scan --pattern 'celeriac*'; redis-cli llen nobody; redis-cli llen links");

describe('canaries', () => {
  test('one for each queue comes back from this very start of the unit', async () => {
    const queues = ['celery', 'batch', 'links', 'variations', 'links'];
    const report = await canaries(queues);
    expect(report).toMatchObject({ ok: true, problem: null });
    expect(report.jobs.map((job) => job.where)).toEqual(queues);
    const children = await output('pgrep -P $(systemctl show celery-worker -p MainPID --value)');
    for (const job of report.jobs) {
      expect(job).toMatchObject({ state: 'done', detail: `answered by pid ${children} on vps` });
    }
    expect(await left()).toBe('0\n0');
  });

  test('a queue that nobody consumes times out, and nothing stays in the broker', async () => {
    const report = await canaries(['celery', 'nobody'], { timeoutSeconds: seconds(8) });
    expect(report.ok).toBe(false);
    expect(report.problem).toBe('no worker answered on nobody within 8 s');
    expect(report.jobs.map((job) => job.state)).toEqual(['done', 'timed-out']);
    expect(report.jobs[1]?.detail).toContain('its canary was taken back');
    // The first may be from before it came back.
    expect(report.notes.at(-1)).toMatch(
      /^1 of 2 canaries back \(celery \d+\.\d s\); waiting for nobody$/,
    );
    expect(await left()).toBe('0\n0');
  });

  test('what another worker answers does not count', async () => {
    await machine.run(`
      cd /root/slideshow/backend
      PYTHONPATH=/opt/celeriac setsid nohup celery -A celery_app worker -I celeriac_support -l info \
        -n other@vps -c 1 -Q links >/tmp/other.log 2>&1 </dev/null &
      until grep -q ' ready' /tmp/other.log; do sleep 0.5; done
      kill -STOP $(systemctl show celery-worker -p MainPID --value)
    `);
    const mute = await canaries(['links'], { timeoutSeconds: seconds(8) });
    expect(mute.problem).toBe('only other workers answered on links within 8 s');
    expect(mute.jobs[0]?.detail).toMatch(/: pid \d+ on vps/);
    await machine.run('kill -CONT $(systemctl show celery-worker -p MainPID --value)');
    // Both take from the queue now: it is asked until ours has answered.
    const both = await canaries(['links', 'links', 'links']);
    expect(both).toMatchObject({ ok: true, problem: null });
    await machine.run("pkill -TERM -o -f 'other@[v]ps'");
    expect((await left()).split('\n').slice(0, -1)).toEqual(['0']);
  });

  test('what goes wrong before a canary flies is one sentence', async () => {
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
      '/opt/none/python could not be started: No such file or directory',
    );
    const unit = 'no-such.service' as typeof APP.unit;
    expect((await canaries(['celery'], { unit })).problem).toBe(
      'no-such.service is inactive: there is no worker that could answer',
    );
    await machine.run(`
      mkdir -p /run/systemd/system/celery-worker.service.d
      printf '[Service]\\nEnvironment=SLIDESHOW_BROKER=redis://:sesame@127.0.0.1:6390/0\\n' \
        >/run/systemd/system/celery-worker.service.d/broker.conf
      systemctl daemon-reload
    `);
    const refused = await canaries(['celery']);
    await machine.run('rm -r /run/systemd/system/celery-worker.service.d; systemctl daemon-reload');
    expect(refused.problem).toContain("the broker redis://:**@127.0.0.1:6390/0 can't be reached");
    expect(refused.problem).toContain('refused');
    expect(JSON.stringify(refused)).not.toContain('sesame');
  });
});

describe('a task of the app', () => {
  const call = (calls: readonly (readonly unknown[])[], changes: Partial<typeof APP> = {}) =>
    submit({
      kind: 'task',
      ...APP,
      ...changes,
      task: 'tasks.process_job',
      queue: null,
      calls: calls.map((args) => ({ args })),
    });

  test('several calls are waited for', async () => {
    const report = await call([
      [null, 0.1],
      [null, 4],
    ]);
    expect(report).toMatchObject({ ok: true, problem: null });
    expect(report.jobs.map((job) => job.state)).toEqual(['done', 'done']);
    expect(report.notes.join('\n')).toContain('of 2 calls of tasks.process_job done');
    for (const job of report.jobs) {
      // Its result is taken away again.
      expect(await output(`redis-cli exists celery-task-meta-${job.id}`)).toBe('0');
    }
  });

  longTest('a failure carries its exception, a silence its last state', async () => {
    const failed = await call([[null, 0, 0, 'error']]);
    expect(failed.problem).toBe(
      '1 of 1 calls of tasks.process_job did not succeed: FAILURE: WorkError: asked to fail',
    );
    const slow = await call([[null, 20]], { timeoutSeconds: seconds(4) });
    expect(slow.jobs[0]).toMatchObject({ state: 'timed-out' });
    expect(slow.jobs[0]?.detail).toContain('not done within 4 s, last state PENDING');
  });
});

describe('an HTTP call', () => {
  test('a batch is followed to its end', async () => {
    const report = await submit(BATCH);
    expect(report).toMatchObject({ ok: true, problem: null });
    expect(report.jobs[0]).toMatchObject({
      where: 'POST http://127.0.0.1/api/batch',
      state: 'done',
      detail: expect.stringContaining('status completed'),
    });
    expect(report.result).toMatchObject({ status: 'completed', 'links.completed': 2 });
    expect(report.notes.join('\n')).toMatch(/status processing/);
  });

  longTest('a batch that fails, a form that is refused, a field that is not there', async () => {
    const failed = await submit({ ...BATCH, form: { ...BATCH.form, failure: 'error' } });
    expect(failed.jobs[0]).toMatchObject({ state: 'failed' });
    expect(failed.problem).toContain('status failed');
    const refused = await submit({ ...BATCH, form: {} });
    expect(refused.problem).toContain('answered HTTP 400');
    const odd = await submit({ ...BATCH, pollUrl: 'http://127.0.0.1/api/{nothing}' });
    expect(odd.problem).toContain("its answer has no field 'nothing'");
    const deaf = await submit({ ...BATCH, url: 'http://127.0.0.1:9/' });
    expect(deaf.problem).toBe('POST http://127.0.0.1:9/: connection refused');
  });

  longTest('one that never ends is timed out with its last word', async () => {
    const report = await submit({
      ...BATCH,
      form: { ...BATCH.form, seconds: '30' },
      timeoutSeconds: seconds(6),
    });
    expect(report.jobs[0]).toMatchObject({ state: 'timed-out' });
    expect(report.problem).toMatch(/not done within 6 s; last: status (pending|processing)/);
  });
});

test('the program leaves when the runner does, and takes its canary along', async () => {
  const own = await Hand.open(machine);
  const gone = own.agent
    .submit({ kind: 'canary', ...APP, queues: ['nobody'], timeoutSeconds: seconds(600) }, () => {})
    .catch((error: unknown) => error);
  const senders = () => output("pgrep -fc '^/usr/bin/python3 -c .import sys, types' || true");
  await expect.poll(senders, { timeout: 300_000 }).toBe('1');
  await expect.poll(() => output('redis-cli llen nobody'), { timeout: 300_000 }).toBe('1');
  await own.agent.close();
  await gone;
  await expect.poll(senders, { timeout: 300_000 }).toBe('0');
  expect(await output('redis-cli llen nobody')).toBe('0');
});
