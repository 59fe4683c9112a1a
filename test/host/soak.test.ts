import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Machine, startMachine } from '../../sandbox/machine.ts';
import type { LedgerRelease } from '../../src/model/facts/ledger.ts';
import type { Sample } from '../../src/model/sample.ts';
import type { SoakReport } from '../../src/model/soak.ts';
import { MiB } from '../../src/model/units.ts';
import { type BundleRun, runBundle } from '../lib/bundle.ts';
import { Hand } from './lib/hand.ts';
import { type Inputs, inputsFor } from './lib/inputs.ts';
import { DATABASE, shell, UNIT, UNIT_PATH, waitUntil } from './lib/worker.ts';

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

const lastSample = async () =>
  JSON.parse(await shell(machine, `tail -n 1 /var/lib/celeriac/samples/${UNIT}.jsonl`)) as Sample;

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
  // A single sample that came late may have proven it, and tells of no step between two.
  expect([0, null]).toContain(proven?.figures?.restarts);
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
  await deploy({ concurrency: '1', 'confirm-within': '15m' });
  const verified = await runBundle('verify', inputsFor(machine, { database: 'none' }));
  expect(verified.outputs.healthy, verified.log).toBe('true');
  expect(await states()).toEqual(['0 before', '1 proven', '2 unproven']);
  await sample();
  await sample();
  // The deploy wanted a day, and a run cannot have it shorter.
  const hasty = await soak({ database: DATABASE });
  expect(hasty.report).toMatchObject({ state: 'unproven', verdict: { wantedSeconds: 86_400 } });
  expect(hasty.log).toContain('The deploy wanted a soak of 24 h, this run one of 3.6 s');
  const { comparison } = hasty.report;
  const row = (title: string) => comparison?.rows.find((each) => each.title === title);
  // Nobody has verified the release before.
  expect(row('Latency of a canary, median')).toMatchObject({ before: null });
  expect(row('Latency of a canary, median')?.now, hasty.log).toBeGreaterThan(0);
  expect(row('Kinds of error in the journal')?.now, comparison?.notKnown).toBe(0);
  // Those in the tables are from before the release.
  expect(row('Oldest stuck job')?.now, comparison?.notKnown).toBe(0);
  expect(comparison?.notKnown).toBe('');
  const unnamed = (await soak()).report.comparison?.notKnown;
  expect(unnamed).toBe(
    'Unknown for this release: the oldest stuck job, because neither `database` nor `stores` is given.',
  );
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
});

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

test('limits of the deploy count for every run; a leak and a killed sampler, each by itself', {
  tags: ['nightly'],
}, async () => {
  await deploy({ concurrency: '2', 'restart-delay': '12s', 'rate-limit-max': '5' });
  const current = (await releases()).at(-1);
  if (current === undefined) throw new Error('there is no release');
  await waitUntil('there is a sample of it', async () => {
    await sample();
    return (await lastSample()).release === current.release;
  });
  await shell(machine, 'systemctl stop celeriac-sampler.timer');
  const template = await lastSample();
  /** What the sampler would have written by now. */
  const write = (hours: number, change: (minute: number) => object | null) => {
    const lines = Array.from({ length: hours * 60 }, (_, minute) => {
      const at = current.since + 1 + minute * 60;
      const changed = change(minute);
      return changed === null ? [] : [{ ...template, at, uptime: 1000 + minute * 60, ...changed }];
    });
    const text = lines.flat().map((line) => `${JSON.stringify(line)}\n`);
    return machine.writeFile(`/var/lib/celeriac/samples/${UNIT}.jsonl`, text.join(''));
  };
  const judged = async (more: Inputs = {}) => {
    const { report } = await soak({ 'soak-hours': '24', 'dry-run': 'true', ...more });
    const failed = report.verdict?.aspects.filter((each) => each.verdict === 'fail') ?? [];
    return { ...report, failed: failed.map(({ limit }) => limit) };
  };
  const memory = { current: 300 * MiB, anon: 200 * MiB, peak: null, main: null, children: null };
  const limited = { ...memory, swap: 0, high: 600 * MiB, max: 900 * MiB };
  const journal = { errors: 0, tracebacks: 0, rateLimited: 0, dropped: 0, unread: false };
  const well = { memory: limited, journal };

  // It wrote nothing for half an hour: no fault, and no proof either.
  await write(3, (minute) => (minute > 60 && minute < 90 ? null : well));
  const gap = await judged();
  expect(gap).toMatchObject({ state: 'unproven', failed: [], verdict: { failingMinutes: 0 } });
  expect(gap.verdict?.gaps[0]).toMatchObject({ why: 'no samples', to: current.since + 5401 });

  await write(10, (minute) => ({
    ...well,
    memory: { ...limited, anon: (200 + minute / 4) * MiB },
  }));
  const leak = await judged();
  expect(leak).toMatchObject({ state: 'failed', failed: ['leak'] });
  expect(leak.sentence).toMatch(/The worker's memory climbs by .* it would reach MemoryHigh/);

  // A run that says nothing about limits, and one that would allow more.
  await write(2, (minute) => ({
    ...well,
    journal: { ...journal, rateLimited: minute === 30 ? 6 : 0 },
  }));
  for (const limits of [{}, { 'rate-limit-max': '1000' }]) {
    const storm = await judged(limits);
    expect(storm).toMatchObject({ state: 'failed', failed: ['rate-limits'] });
    expect(storm.verdict?.notes).toHaveLength('rate-limit-max' in limits ? 1 : 0);
  }
});
