import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Machine, startMachine } from '../../sandbox/machine.ts';
import type { LedgerRelease } from '../../src/model/facts.ts';
import type { SoakReport } from '../../src/model/soak.ts';
import { type BundleRun, runBundle } from '../lib/bundle.ts';
import { Hand } from './lib/hand.ts';
import { type Inputs, inputsFor } from './lib/inputs.ts';
import { shell, UNIT, UNIT_PATH, waitUntil } from './lib/worker.ts';

/** A few seconds: real samples, but nobody waits for the timer. */
const SCALED = '0.001';

let machine: Machine;

beforeAll(async () => {
  machine = await startMachine({ name: 'soak', state: 'healthy' });
});
afterAll(() => machine?.stop());

async function deploy(more: Inputs): Promise<void> {
  const inputs = {
    'memory-max': '900M',
    'memory-high': '600M',
    'min-healthy-time': '1s',
    'confirm-within': 'off',
    ...more,
  };
  const run = await runBundle('deploy-worker', inputsFor(machine, inputs));
  expect(run.code, run.log).toBe(0);
}

async function soak(more: Inputs = {}): Promise<BundleRun & { readonly report: SoakReport }> {
  const inputs = { mode: 'soak', 'soak-hours': SCALED, ...more };
  const run = await runBundle('verify', inputsFor(machine, inputs));
  expect(run.outputs.soak, run.log).toBeDefined();
  return { ...run, report: JSON.parse(run.outputs['soak-report'] ?? '') };
}

/** What the timer does once a minute. */
const sample = () => shell(machine, 'systemctl start celeriac-sampler.service');

const releases = async (): Promise<readonly LedgerRelease[]> => {
  await using hand = await Hand.open(machine);
  return (await hand.agent.look({ releases: { unit: UNIT } })).releases.releases;
};
const states = async () => (await releases()).map(({ release, state }) => `${release} ${state}`);
const isSampled = async () =>
  (
    await shell(
      machine,
      `systemctl is-active celeriac-sampler.timer; ls /var/lib/celeriac/sampled /etc/systemd/system/timers.target.wants; true`,
    )
  ).includes('celeriac-sampler.timer');

test('a release is proven by real samples; the sampler is gone, its samples stay', async () => {
  await deploy({ concurrency: '2', 'soak-hours': SCALED });
  expect(await states()).toEqual(['0 before', '1 unproven']);
  expect(await isSampled()).toBe(true);
  await sample();
  const early = await soak({ 'soak-hours': '24' });
  expect([early.code, early.report.state]).toEqual([0, 'unproven']);
  await waitUntil('it is proven', async () => {
    await sample();
    return (await soak()).report.state === 'proven';
  });
  expect(await states()).toEqual(['0 before', '1 proven']);
  const [, proven] = await releases();
  expect(proven?.soakWhy).toMatch(/^Proven: /);
  expect(proven?.figures).toMatchObject({ restarts: 0 });
  await waitUntil('the timer is gone', async () => !(await isSampled()));
  expect(
    Number(await shell(machine, `wc -l < /var/lib/celeriac/samples/${UNIT}.jsonl`)),
  ).toBeGreaterThan(1);
  // Again, and from a terminal: the same, and nothing is recorded twice.
  expect((await soak()).report).toMatchObject({ state: 'proven', verdict: null });
  expect(await shell(machine, 'grep -c \'"soak"\' /var/lib/celeriac/releases.jsonl')).toBe('1');
}, 300_000);

test('a release whose worker dies fails, and goes back to the last proven one', async () => {
  const before = await machine.readFile(UNIT_PATH);
  await deploy({ concurrency: '1' });
  expect(await states()).toEqual(['0 before', '1 proven', '2 unproven']);
  await sample();
  await sample();
  // The deploy wanted a day, and a run cannot have it shorter.
  const hasty = await soak();
  expect(hasty.report).toMatchObject({ state: 'unproven', verdict: { wantedSeconds: 86_400 } });
  expect(hasty.log).toContain('The deploy wanted a soak of 24 h, this run one of 3.6 s');
  await shell(machine, `systemctl kill --kill-who=main --signal=KILL ${UNIT}`);
  const isBack = async () =>
    (await shell(machine, `systemctl show -p NRestarts -p ActiveState ${UNIT}`)).includes(
      'NRestarts=1\nActiveState=active',
    );
  await waitUntil('systemd has restarted it', isBack);
  await sample();
  const reported = await soak({ 'soak-hours': '24', 'dry-run': 'true' });
  expect([reported.code, reported.report.state]).toEqual([1, 'failed']);
  expect(reported.log).toMatch(
    /^::error .*(?:systemd restarted the worker|The unit was not active)/m,
  );
  expect(await states()).toEqual(['0 before', '1 proven', '2 unproven']);
  const { code, report, log } = await soak({ 'soak-hours': '24', 'soak-failure': 'rollback' });
  expect([code, report.state, report.rolledBackTo], log).toEqual([1, 'failed', 1]);
  // The timer's own sample may have seen the moment in between.
  expect(['restarts', 'unit']).toContain(report.verdict?.failure?.limit);
  expect(await states()).toEqual(['0 before', '1 proven', '2 undone']);
  expect(await machine.readFile(UNIT_PATH)).toBe(before);
  expect(await shell(machine, `systemctl is-active ${UNIT}`)).toBe('active');
  expect(await isSampled()).toBe(false);
  // The next hour: the proven one runs, and nothing is to be done.
  expect((await soak({ 'soak-failure': 'rollback' })).report.state).toBe('proven');
}, 300_000);

test('a terminal says the same as the workflow', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'celeriac-soak-'));
  try {
    const files = { key: join(folder, 'key'), knownHosts: join(folder, 'known_hosts') };
    await writeFile(files.key, machine.key, { mode: 0o600 });
    await writeFile(files.knownHosts, machine.knownHosts);
    const login = ['--host', machine.host, '--port', String(machine.sshPort)];
    const keys = ['--ssh-key-file', files.key, '--known-hosts-file', files.knownHosts];
    const { stdout } = await promisify(execFile)(process.execPath, [
      join(import.meta.dirname, '../../cli/dist/index.js'),
      ...['soak', '--json', ...login, ...keys],
    ]);
    const { report } = await soak();
    expect({ ...JSON.parse(stdout), by: '' }).toEqual({ ...report, by: '' });
  } finally {
    await rm(folder, { recursive: true });
  }
});
