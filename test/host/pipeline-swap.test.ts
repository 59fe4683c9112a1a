import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Machine, startMachine } from '../../sandbox/machine.ts';
import { ActionRuns } from './lib/action-runs.ts';
import { captureHost } from './lib/host-state.ts';
import { taskListLimits } from './lib/inputs.ts';
import { readTransaction, shell, show, UNIT } from './lib/worker.ts';

/* The part of the pipeline for which a host needs a kernel of its own; the rest: pipeline.test.ts. */

let machine: Machine;
let runs: ActionRuns;

/** A state costs minutes when it is made, so only tests of a worker start in one. */
async function start(state?: string): Promise<void> {
  machine = await startMachine({
    name: 'pipeline-swap',
    ...(state === undefined ? {} : { state }),
    needs: ['swap', 'sysctl', 'memory'],
  });
  runs = await ActionRuns.on(machine);
}

afterAll(() => machine?.stop());

async function expectSwap(): Promise<void> {
  const swaps = await shell(machine, "awk 'NR > 1 {print $1, $2, $3}' /proc/swaps");
  expect(swaps).toBe('/swapfile file 2097148');
  expect(await shell(machine, 'stat -c "%a %U %G %s" /swapfile')).toBe('600 root root 2147483648');
  expect(await shell(machine, 'grep swap /etc/fstab')).toBe('/swapfile none swap sw 0 0');
  expect(await shell(machine, 'cat /proc/sys/vm/swappiness')).toBe('10');
}

test('provision: 2 GiB of swap, now and after a reboot', async () => {
  await start();
  const run = await runs.carryOut('provision');
  expect(run.log).toContain('+/swapfile none swap sw 0 0');
  await expectSwap();

  // What a boot does with what was written.
  await shell(machine, 'swapoff -a && sysctl -q vm.swappiness=60');
  await shell(machine, 'swapon -a && /lib/systemd/systemd-sysctl');
  await expectSwap();
});

describe('beside a worker', { tags: ['nightly'] }, () => {
  beforeAll(() => start('healthy'));

  beforeEach(async () => {
    await machine.reset();
    runs = await ActionRuns.on(machine);
  });

  test('a user with sudo adds what is missing; then there is nothing to do', async () => {
    await runs.succeed('provision');
    await shell(machine, "sysctl -q vm.swappiness=60; sed -i '/swapfile/d' /etc/fstab");
    const run = await runs.succeed('provision', {}, 'deploy');
    expect(run.outputs.changed).toBe('true');
    await expectSwap();
    const { plan } = await readTransaction(machine, run.outputs.transaction ?? '');
    expect(plan.operations.map(({ op }) => op)).toEqual(['write-file', 'set-sysctl']);
    expect(await shell(machine, 'stat -c %U /var/lib/celeriac /etc/fstab')).toBe('root\nroot');

    const before = await captureHost(machine);
    const again = await runs.succeed('provision');
    expect(again.outputs).toMatchObject({ changed: 'false', transaction: '' });
    expect(again.log).toContain('Nothing to do: the host is in the desired state.');
    expect(await captureHost(machine)).toEqual(before);
  });

  test('with swap the worker has both limits, and all checks pass', async () => {
    await runs.succeed('provision');
    await runs.succeed('deploy-worker', taskListLimits);
    expect(await show(machine, 'MemoryMax', 'MemoryHigh')).toEqual({
      MemoryMax: '838860800',
      MemoryHigh: '629145600',
    });
    const cgroup = `/sys/fs/cgroup/system.slice/${UNIT}`;
    expect(await shell(machine, `cat ${cgroup}/memory.max ${cgroup}/memory.high`)).toBe(
      '838860800\n629145600',
    );
    const limits = { 'swap-size': '2G', 'memory-max': '800M', 'memory-high': '600M' };
    const verify = await runs.succeed('verify', limits);
    expect(verify.outputs.healthy).toBe('true');
    const checks = JSON.parse(verify.outputs.checks ?? '[]') as { verdict: string }[];
    expect(checks.filter(({ verdict }) => verdict !== 'pass')).toEqual([]);
  });
});
