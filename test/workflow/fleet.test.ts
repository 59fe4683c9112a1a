import { afterAll, beforeAll, expect, it } from 'vitest';
import { unitPath } from './deploy-host.ts';
import { endOf, FleetOfMachines, statesOf } from './fleet-hosts.ts';

let fleet: FleetOfMachines;

beforeAll(async () => {
  fleet = await FleetOfMachines.start('fleet', 2);
});
afterAll(async () => {
  await fleet?.stop();
});

it('stops at a canary whose gate fails, and the other host is untouched', async () => {
  const units = await readUnits();
  const run = await fleet.deploy(
    { canary: 'web1' },
    { web1: { 'http-probes': 'http://127.0.0.1/no-such-page' } },
  );
  const log = run.lines.join('\n');
  expect(run.code, log).toBe(1);
  expect(statesOf(run), log).toEqual({ web1: 'rolled-back' });
  expect(endOf(run, 'web1'), log).toContain('rolled back | its gate failed');
  expect(endOf(run, 'web2')).toContain('untouched | not started');
  expect(log).toContain('2 hosts: 1 untouched, 1 rolled back.');
  expect(await readUnits()).toEqual(units);
  const ledger = await fleet.machines.get('web2')?.run('ls -A /var/lib/celeriac', {
    allowFailure: true,
  });
  expect(ledger?.stdout).toBe('');
  expect(log).not.toContain('PRIVATE KEY');
});

const readUnits = (): Promise<readonly string[]> =>
  Promise.all([...fleet.machines.values()].map((machine) => machine.readFile(unitPath)));
