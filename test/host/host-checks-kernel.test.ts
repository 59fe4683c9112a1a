import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Machine, startMachine } from '../../sandbox/machine.ts';
import { MiB } from '../../src/model/units.ts';
import type { Check } from '../../src/model/verdict.ts';
import { runBundle } from '../lib/bundle.ts';
import { type Inputs, inputsFor } from './lib/inputs.ts';
import { BACKEND, shell, show, UNIT, waitUntil } from './lib/worker.ts';

/* What can only go wrong on a host that has a kernel of its own. */

const nightly = { tags: ['nightly'] };

let machine: Machine;

beforeAll(async () => {
  machine = await startMachine({
    name: 'host-checks-kernel',
    state: 'healthy',
    needs: ['memory', 'swap', 'clock', 'kernel-log'],
  });
  const deploy = await runBundle(
    'deploy-worker',
    inputsFor(machine, { 'memory-max': '300M', 'min-healthy-time': '1s', 'confirm-within': 'off' }),
  );
  expect(deploy.code, deploy.log).toBe(0);
});

afterAll(() => machine?.stop());

async function verify(inputs: Inputs = {}) {
  const run = await runBundle('verify', inputsFor(machine, { gate: 'none', ...inputs }));
  const checks = JSON.parse(run.outputs.checks ?? '[]') as readonly Check[];
  expect(checks, run.log).not.toEqual([]);
  return {
    failed: checks.filter(({ verdict }) => verdict === 'fail').map(({ id }) => id),
    find: (id: string) => checks.find((check) => check.id === id),
  };
}

test('swap that is not in fstab', nightly, async () => {
  const healthy = await verify();
  expect(healthy.failed).toEqual([]);
  expect(healthy.find('memory-events')?.verdict).toBe('pass');
  expect(healthy.find('pressure')?.verdict).not.toBe('unknown');

  await shell(
    machine,
    'fallocate -l 64M /swapfile && chmod 600 /swapfile && mkswap -q /swapfile && swapon /swapfile',
  );
  expect((await verify()).find('swap-boot')?.verdict).toBe('warn');
  const lost = await verify({ 'swap-size': '64M' });
  expect(lost.failed).toEqual(['swap-boot']);
  expect(lost.find('swap-boot')?.seen).toContain('/swapfile is not in /etc/fstab');
  await shell(machine, "echo '/swapfile none swap sw 0 0' >>/etc/fstab");
  const kept = await verify();
  expect(kept.failed).toEqual([]);
  expect(kept.find('swap-boot')?.seen).toContain('/swapfile is in /etc/fstab');

  // As after a reboot in which it failed.
  await shell(machine, 'swapoff /swapfile');
  const off = await verify({ 'swap-size': '64M' });
  expect(off.failed).toEqual(['swap']);
  expect(off.find('swap')).toMatchObject({ seen: 'none', expected: '64 MiB' });
  await shell(machine, 'rm /swapfile && sed -i /swapfile/d /etc/fstab');
});

test('a clock that is 5 min ahead', nightly, async () => {
  await shell(machine, "date -s '+5 min'");
  const { failed, find } = await verify();
  await shell(machine, "date -s '-5 min'");
  expect(failed).toEqual(['clock']);
  expect(find('clock')?.seen).toContain("ahead of the runner's");
  // By the monotonic clock, nothing has happened.
  expect(find('watchdog')?.verdict).toBe('pass');
});

test('an OOM kill of a child while the unit stays active', nightly, async () => {
  const main = (await show(machine, 'MainPID')).MainPID;
  const send =
    "celery_app.send_task('tasks.process_job', kwargs={'megabytes': 600, 'seconds': 0}, queue='celery')";
  await shell(machine, `cd ${BACKEND} && python3 -c "from celery_app import celery_app; ${send}"`);
  const counts = `/sys/fs/cgroup/system.slice/${UNIT}/memory.events`;
  await waitUntil('the kernel has killed the child, and it is replaced', async () => {
    const seen = await shell(
      machine,
      `grep -c 'oom_kill [1-9]' ${counts} || true; pgrep -cP ${main} || true`,
    );
    return seen === '1\n1';
  });
  const { failed, find } = await verify();
  expect(await show(machine, 'ActiveState', 'MainPID')).toEqual({
    ActiveState: 'active',
    MainPID: main,
  });
  expect(failed).toEqual(['oom']);
  expect(find('oom')?.seen).toMatch(/^[1-9] process(?:es)? killed$/);
  expect(find('kernel-oom')).toMatchObject({
    verdict: 'pass',
    seen: expect.stringMatching(/^none but [1-9] kills? at the limit of the unit \(check oom\)$/),
  });
  expect(find('memory-events')).toMatchObject({
    verdict: 'warn',
    seen: expect.stringContaining('reached MemoryMax'),
  });
});

test(
  'a worker that stands still for want of memory, while all of it is active',
  nightly,
  async () => {
    // Without swap, deploy-worker sets no MemoryHigh.
    await shell(
      machine,
      'fallocate -l 64M /swapfile && chmod 600 /swapfile && mkswap -q /swapfile && swapon /swapfile',
    );
    const limits = { 'memory-high': '200M', 'memory-max': '800M' };
    const deploy = await runBundle(
      'deploy-worker',
      inputsFor(machine, { ...limits, 'min-healthy-time': '1s', 'confirm-within': 'off' }),
    );
    expect(deploy.code, deploy.log).toBe(0);
    expect(await show(machine, 'MemoryHigh')).toEqual({ MemoryHigh: String(200 * MiB) });
    const healthy = await verify();
    expect(healthy.failed).toEqual([]);
    expect(healthy.find('pressure')).toMatchObject({
      verdict: 'pass',
      seen: expect.stringMatching(/^unit: memory [\d.]+ %; unit: I\/O /),
    });
    // Above MemoryHigh the kernel has whoever asks for more wait, up to 2 s for each piece.
    const send =
      "celery_app.send_task('tasks.process_job', kwargs={'megabytes': 500, 'seconds': 0}, queue='celery')";
    await shell(
      machine,
      `cd ${BACKEND} && python3 -c "from celery_app import celery_app; ${send}"`,
    );
    const stalled = (span: 'avg10' | 'avg60' | 'avg300') =>
      shell(
        machine,
        `sed -n 's/^full .*${span}=\\([0-9.]*\\) .*/\\1/p' /sys/fs/cgroup/system.slice/${UNIT}/memory.pressure`,
      ).then(Number);
    await waitUntil('it stands still', async () => (await stalled('avg60')) > 15);
    const slow = await verify();
    expect(slow.failed).toEqual([]);
    expect(slow.find('pressure')).toMatchObject({
      verdict: 'warn',
      seen: expect.stringMatching(/^unit: memory [\d.]+ %; /),
      expected: 'all processes stalled for at most 10 % of a minute',
    });
    await waitUntil(
      'it has done so for most of 5 min',
      async () => (await stalled('avg300')) > 52,
      590,
    );
    expect(await stalled('avg10'), 'the task has ended too soon').toBeGreaterThan(10);
    const { failed, find } = await verify();
    expect(await show(machine, 'ActiveState', 'NRestarts')).toEqual({
      ActiveState: 'active',
      NRestarts: '0',
    });
    expect(failed).toEqual(['pressure']);
    expect(find('pressure')?.seen).toMatch(/^unit: memory [\d.]+ % of the last 5 min; /);
    expect(find('oom')?.verdict).toBe('pass');
    expect(find('memory')).toMatchObject({
      verdict: 'warn',
      seen: expect.stringContaining('throttled at MemoryHigh'),
    });
  },
);
