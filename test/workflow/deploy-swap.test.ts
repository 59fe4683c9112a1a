import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Machine, startMachine } from '../../sandbox/machine.ts';
import { ask, outputsOf, push, rehearse, resultsOf, serveJob } from './deploy-host.ts';

/* What deploy.yml does with swap, on a host with a kernel of its own; the rest: deploy.test.ts. */

let machine: Machine;

beforeAll(async () => {
  machine = await startMachine({
    name: 'workflow-deploy-swap',
    state: 'before',
    needs: ['swap', 'sysctl', 'memory'],
  });
});
afterAll(async () => {
  await machine?.stop();
});

it('adds swap, and sets the limits that need swap', { tags: ['nightly'] }, async () => {
  const rehearsed = await rehearse(machine);
  // Swap is on only on paper here: what the unit gets with it is said in words.
  expect(rehearsed.lines.join('\n')).toContain('With swap the unit also gets MemoryHigh=600M');

  const run = await push(machine);
  expect(resultsOf(run), run.lines.join('\n')).toMatchObject({
    Inputs: 'success',
    Swap: 'success',
    Worker: 'success',
    Gate: 'success',
  });
  expect(run.code).toBe(0);
  expect(outputsOf(run, 'Gate')).toMatchObject({ healthy: 'true' });
  expect(await ask(machine, 'swapon --show=NAME,SIZE --noheadings')).toBe('/swapfile   2G');
  expect(await ask(machine, 'cat /proc/sys/vm/swappiness')).toBe('10');
  expect(await ask(machine, 'grep -c /swapfile /etc/fstab')).toBe('1');
  expect(await ask(machine, 'systemctl show celery-worker -p MemoryHigh --value')).toBe(
    '629145600',
  );
  expect(await serveJob(machine)).toBe('completed');
});
