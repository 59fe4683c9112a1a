import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Machine } from '../../sandbox/machine.ts';
import type { WorkflowRun } from '../lib/act.ts';
import { ask, serveJob, unitPath } from './deploy-host.ts';
import { endOf, FleetOfMachines, statesOf } from './fleet-hosts.ts';

const broken = { 'http-probes': 'http://127.0.0.1/no-such-page' };

describe('ten hosts', { tags: ['nightly'] }, () => {
  let fleet: FleetOfMachines;
  beforeAll(async () => {
    fleet = await FleetOfMachines.start('fleet-ten', 10);
  });
  afterAll(async () => {
    await fleet?.stop();
  });

  it('are deployed and confirmed, the canary first', async () => {
    const run = await fleet.deploy({ 'max-parallel': 3 });
    const log = run.lines.join('\n');
    expect(run.code, log).toBe(0);
    const names = [...fleet.machines.keys()];
    expect(statesOf(run)).toEqual(Object.fromEntries(names.map((name) => [name, 'confirmed'])));
    expect(log).toContain('10 hosts: 10 deployed and confirmed.');
    const canaryEnds = log.indexOf('web1: deployed and confirmed');
    expect(canaryEnds).toBeGreaterThan(0);
    expect(log.slice(0, canaryEnds)).not.toContain('web2 may be begun');
    for (const machine of fleet.machines.values()) {
      expect(await ask(machine, 'systemctl is-active celery-worker')).toBe('active');
      expect(await machine.readFile(unitPath)).toContain('Type=notify');
    }
  });
});

describe('four hosts', { tags: ['nightly'] }, () => {
  let fleet: FleetOfMachines;
  let original: string;
  beforeAll(async () => {
    fleet = await FleetOfMachines.start('fleet-four', 4);
    original = await machineOf('web1').readFile(unitPath);
  });
  beforeEach(async () => {
    for (const machine of fleet.machines.values()) await machine.reset();
  });
  afterAll(async () => {
    await fleet?.stop();
  });

  const machineOf = (name: string): Machine => {
    const machine = fleet.machines.get(name);
    if (machine === undefined) throw new Error(`there is no ${name}`);
    return machine;
  };
  const unitOf = (name: string): Promise<string> => machineOf(name).readFile(unitPath);
  const oneByOne = { 'max-parallel': 1, 'max-failures': 1 };

  it('stop at the third, whose gate fails; by policy all go back, past one that cannot', async () => {
    let changed: Promise<void> | undefined;
    const run = await fleet.deploy(
      { ...oneByOne, 'on-failure': 'run' },
      { web3: broken },
      {
        onLine: (line) => {
          // Its unit is somebody else's work now.
          if (!line.includes('web3 may be begun')) return;
          changed ??= unitOf('web2').then((text) =>
            machineOf('web2').writeFile(unitPath, `# by hand\n${text}`),
          );
        },
      },
    );
    await changed;
    const log = run.lines.join('\n');
    expect(run.code, log).toBe(1);
    expect(statesOf(run), log).toEqual({
      web1: 'rolled-back',
      web2: 'unknown',
      web3: 'rolled-back',
      web4: 'untouched',
    });
    expect(endOf(run, 'web2')).toContain('its rollback failed');
    expect(run.summaries.join('\n')).toContain('Check the hosts whose state is unknown');
    for (const name of ['web1', 'web3', 'web4']) expect(await unitOf(name)).toBe(original);
    expect(await unitOf('web2')).toMatch(/^# by hand/);
  });

  it('are whole after a run that is cancelled in the middle, and the next run deploys them', async () => {
    let cancelled = false;
    const run = await fleet.deploy(
      oneByOne,
      {},
      {
        onLine: (line, cancel) => {
          if (cancelled || !line.includes('/12 drain celery-worker.service')) return;
          cancelled = true;
          cancel();
        },
      },
    );
    expect(cancelled).toBe(true);
    expect(run.code).not.toBe(0);
    expect(statesOf(run)).not.toHaveProperty('web2');
    // The host goes on alone; a job that comes in the drain waits for the worker that follows.
    expect(await serveJob(machineOf('web1'))).toBe('completed');
    for (const name of ['web2', 'web3', 'web4']) expect(await unitOf(name)).toBe(original);

    const again = await fleet.deploy(oneByOne, {}, { variables: { HOSTS: 'web1' } });
    expect(again.code, again.lines.join('\n')).toBe(0);
    expect(statesOf(again)).toEqual({ web1: 'confirmed' });
  });

  it('let a clean-up wait until the deploy has ended', async () => {
    let cleanup: Promise<WorkflowRun> | undefined;
    const run = await fleet.deploy(
      oneByOne,
      {},
      {
        variables: { HOSTS: '*1' },
        onLine: (line) => {
          if (!line.includes('/12 drain celery-worker.service')) return;
          cleanup ??= fleet.cleanUp('web1');
        },
      },
    );
    const log = run.lines.join('\n');
    expect(run.code, log).toBe(0);
    const waited = await cleanup;
    const said = waited?.lines.join('\n') ?? '';
    expect(waited?.code, said).toBe(0);
    expect(said).toContain('waiting for the lock of this host');
    expect(statesOf(run)).toEqual({ web1: 'confirmed' });
  });
});
