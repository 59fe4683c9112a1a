import { describe, expect, it } from 'vitest';
import type { SoakDesired } from '../../../src/config/soak-inputs.ts';
import type { SoakReport } from '../../../src/model/soak.ts';
import { epochSeconds, MiB, seconds } from '../../../src/model/units.ts';
import { soakError, soakRelease } from '../../../src/use-case/soak-release.ts';
import type { Known } from '../../../src/verify/soak/besides.ts';
import { begin, events, journal, limits } from '../verify/soak/samples.ts';
import { RecordedRun } from './recorded-run.ts';
import { release, SimulatedHost, unit } from './simulated-soak.ts';

const hour = 60;
const desired: SoakDesired = { unit, limits, onFailure: 'report' };
const rollback: SoakDesired = { ...desired, onFailure: 'rollback' };

const noDatabase = async (): Promise<Known> => ({ why: '`database` is not given' });

async function soak(host: SimulatedHost, wanted = desired, dryRun = false) {
  const run = new RecordedRun({ dryRun });
  const report = await soakRelease(run, host.agent, wanted, noDatabase);
  return { report, run, log: run.log.join('\n') };
}

/** Runs by the clock, until `hours` have passed. */
async function everyHour(host: SimulatedHost, hours: number, pass = () => host.pass(hour)) {
  const states: string[] = [];
  for (let each = 0; each < hours; each += 1) {
    pass();
    states.push((await soak(host)).report.state);
  }
  return states;
}

describe('24 simulated hours', () => {
  it('prove a release at hour 24; the samples end, and further runs change nothing', async () => {
    const host = new SimulatedHost(release(0), release(1));
    host.pass(1);
    const states = await everyHour(host, 26);
    expect(states.indexOf('proven')).toBe(23);
    expect(host.proofs).toHaveLength(1);
    expect(host.proofs[0]).toMatchObject({
      unit,
      verdict: 'proven',
      transaction: '20260111T000000-0001',
    });
    expect(host.proofs[0]?.figures).toMatchObject({ oomKills: 0, memoryPeakBytes: 300 * MiB });
    expect(host.sampling).toBe(false);
    const { report, log } = await soak(host);
    expect(report).toMatchObject({ state: 'proven', verdict: null, rolledBackTo: null });
    expect(report.sentence).toMatch(
      /^Release 1 is proven since .* \(run 9\): Proven: 24 h of 24 h/,
    );
    expect(log).toContain('soak=proven');
  });

  it('with a gap of an hour prove it an hour later', async () => {
    const host = new SimulatedHost(release(0), release(1));
    const states = await everyHour(host, 26, () =>
      host.pass(hour, (minute) => (minute > 5 * hour && minute < 6 * hour ? null : {})),
    );
    expect(states.indexOf('proven')).toBe(24);
    expect(host.proofs[0]?.why).toContain('gaps of 1 h');
  });

  it('with a failure at hour 7 fail it then, and report each time', async () => {
    const host = new SimulatedHost(release(0), release(1));
    const states = await everyHour(host, 9, () =>
      host.pass(hour, (minute) => ({ events: { ...events, oomKill: minute >= 7 * hour ? 1 : 0 } })),
    );
    expect(states).toEqual([...Array(6).fill('unproven'), 'failed', 'failed', 'failed']);
    expect(host.proofs).toHaveLength(1);
    expect(host.undone).toEqual([]);
    const error = soakError((await soak(host)).report);
    expect(error.message).toMatch(/Release 1 is failed since .* killed 1 process of the worker/);
  });

  it('are news once, when the failure is found', async () => {
    const host = new SimulatedHost(release(0), release(1));
    host.pass(2 * hour, (minute) => ({ events: { ...events, oomKill: minute >= hour ? 1 : 0 } }));
    const dry = soakError((await soak(host, desired, true)).report);
    const first = soakError((await soak(host)).report);
    const later = soakError((await soak(host)).report);
    expect([dry, first, later].map(({ isOld }) => isOld)).toEqual([false, false, true]);
    const { report } = await soak(host);
    expect(soakError({ ...report, rolledBackTo: 0 }).isOld).toBe(false);
  });

  it('are judged the same by one run that comes late as by many', async () => {
    const trouble = (minute: number) => ({
      events: { ...events, oomKill: minute >= 30 * hour ? 1 : 0 },
    });
    const punctual = new SimulatedHost(release(0), release(1));
    await everyHour(punctual, 24, () => punctual.pass(hour, trouble));
    const late = new SimulatedHost(release(0), release(1));
    late.pass(40 * hour, trouble);
    await soak(late);
    expect(late.proofs[0]?.verdict).toBe('proven');
    expect(late.proofs[0]?.why).toBe(punctual.proofs[0]?.why);
    expect(late.proofs[0]?.figures).toEqual(punctual.proofs[0]?.figures);
  });
});

describe('code that is not that of the release', () => {
  const wanted = 'a'.repeat(40);
  const moved = { path: '/opt/shop', wanted, actual: 'b'.repeat(40), problem: '' };

  it('is not proven by time, until it is back', async () => {
    const host = new SimulatedHost(release(0), release(1));
    host.pass(25 * hour);
    host.code = moved;
    const { report } = await soak(host);
    expect(report.state).toBe('unproven');
    expect(report.sentence).toMatch(
      /Unproven: 24 h of 24 h .*; it stays so while \/opt\/shop is at bbbbbbbbbbbb, not at aaaaaaaaaaaa of the release\.$/,
    );
    expect(report.verdict?.earliestEnd).toBeNull();
    expect(host.proofs).toEqual([]);
    host.code = { ...moved, actual: wanted };
    expect((await soak(host)).report.state).toBe('proven');
  });

  it('is not proven either if it cannot be read', async () => {
    const host = new SimulatedHost(release(0), release(1));
    host.pass(25 * hour);
    host.code = { ...moved, actual: null, problem: 'no such folder' };
    const { report } = await soak(host);
    expect(report.state).toBe('unproven');
    expect(report.sentence).toContain('not known: no such folder');
  });

  it('does not save a release that failed', async () => {
    const host = new SimulatedHost(release(0), release(1));
    host.pass(2 * hour, (minute) => ({ events: { ...events, oomKill: minute >= hour ? 1 : 0 } }));
    host.code = moved;
    expect((await soak(host)).report.state).toBe('failed');
  });
});

describe('a soak whose length the deploy recorded', () => {
  const wanting = (hours: number): SoakDesired => ({
    ...desired,
    limits: { ...limits, wanted: seconds(hours * 3600) },
  });

  it('is not made shorter by a run that asks for less, which says so', async () => {
    const host = new SimulatedHost(release(0), release(1));
    host.soakSeconds = seconds(24 * 3600);
    host.pass(2 * hour);
    const early = await soak(host, wanting(1));
    expect(early.report).toMatchObject({ state: 'unproven', verdict: { wantedSeconds: 86_400 } });
    expect(early.log).toContain(
      'The deploy wanted a soak of 24 h, this run one of 1 h: the longer one applies.',
    );
    expect(host.proofs).toEqual([]);
    host.pass(22 * hour);
    expect((await soak(host, wanting(1))).report.state).toBe('proven');
    expect(host.proofs[0]?.why).toContain('24 h of 24 h');
  });

  it('is made longer by a run that asks for more', async () => {
    const host = new SimulatedHost(release(0), release(1));
    host.soakSeconds = seconds(3600);
    host.pass(2 * hour);
    const { report } = await soak(host, wanting(24));
    expect(report).toMatchObject({
      state: 'unproven',
      verdict: { wantedSeconds: 86_400, notes: [] },
    });
  });

  it('is still not judged with `soak-hours: 0`', async () => {
    const host = new SimulatedHost(release(0), release(1));
    host.soakSeconds = seconds(3600);
    host.pass(2 * hour);
    const { report } = await soak(host, wanting(0));
    expect(report).toMatchObject({ state: 'unproven', verdict: null });
    expect(host.proofs).toEqual([]);
  });
});

describe('a soak whose limits the deploy recorded', () => {
  /** Of a run that says nothing about them. */
  const silent = { failureLimit: null, consecutive: null, rateLimitMax: null, errorRateMax: null };
  const asking = (limits: Partial<SoakDesired['limits']>): SoakDesired => ({
    ...desired,
    limits: { wanted: seconds(24 * 3600), ...silent, ...limits },
  });
  /** Two minutes with many 429s, hours apart. */
  const busy = () => {
    const host = new SimulatedHost(release(0), release(1));
    host.soakLimits = { failureLimit: 2, consecutive: 2, rateLimitMax: 10, errorRateMax: null };
    host.pass(3 * hour, (minute) => ({
      journal: { ...journal, rateLimited: minute % hour === 7 ? 11 : 0 },
    }));
    return host;
  };

  it('is judged by them, whoever says nothing about limits', async () => {
    const host = busy();
    const { report } = await soak(host, asking({}));
    // Three minutes: the third is one too many.
    expect(report).toMatchObject({ state: 'failed', verdict: { failingMinutes: 3, notes: [] } });
    expect(report.sentence).toContain('11 responses with HTTP 429 in a minute of the journal');
    expect(report.sentence).toContain('2 allowed');
  });

  it('is not made easier by a run, which says so', async () => {
    const laxer = { failureLimit: 100, consecutive: 0, rateLimitMax: 1000 };
    const { report, log } = await soak(busy(), asking(laxer));
    expect(report.state).toBe('failed');
    expect(log).toContain(
      'The deploy recorded `failure-limit` 2, this run asks for 100: the stricter one applies.',
    );
    expect(report.verdict?.notes).toHaveLength(3);
  });

  it('is made stricter by a run that asks for it', async () => {
    const { report } = await soak(busy(), asking({ failureLimit: 0 }));
    expect(report).toMatchObject({ state: 'failed', verdict: { failingMinutes: 1, notes: [] } });
  });
});

describe('a release that failed', () => {
  const failing = () => {
    const before = release(1, { state: 'proven', figures: { memoryMedianBytes: 1500 * MiB } });
    const host = new SimulatedHost(
      release(0),
      before,
      release(2, { state: 'superseded' }),
      release(3),
    );
    host.pass(hour, (minute) => ({ events: { ...events, oomKill: minute > 50 ? 1 : 0 } }));
    return host;
  };

  it('goes back to the last proven one if the policy says so, and over what is between', async () => {
    const host = failing();
    const { report, run } = await soak(host, rollback);
    expect(host.proofs.map(({ verdict }) => verdict)).toEqual(['failed']);
    expect(host.undone).toEqual([['20260113T000000-0003', '20260112T000000-0002']]);
    expect(report).toMatchObject({ state: 'failed', rolledBackTo: 1 });
    expect(soakError(report).next).toContain('release 1, the last proven one, runs again');
    expect(run.log.filter((line) => line.startsWith('soak='))).toEqual(['soak=failed']);
    // The proven one needs no second proof.
    expect((await soak(host, rollback)).report).toMatchObject({ state: 'proven' });
    expect(host.undone).toHaveLength(1);
  });

  it('is compared with it', async () => {
    const { report } = await soak(failing());
    expect(report.comparison?.release).toBe(1);
    expect(report.comparison?.rows[0]).toMatchObject({
      title: 'Memory of the worker, median',
      before: 1500 * MiB,
      now: 300 * MiB,
      trend: 'better',
    });
  });

  it('is compared in what is in no sample, or it is said in one line why not', async () => {
    const row = ({ comparison }: SoakReport, title: string) =>
      comparison?.rows.find((each) => each.title === title);
    const host = failing();
    host.releases = host.releases.map((each) => ({
      ...each,
      gateFigures: { latencySeconds: 0.4 },
      figures: each.figures && { ...each.figures, latencySeconds: 0.8, oldestJobSeconds: 0 },
    }));
    const { report } = await soak(host, desired, true);
    expect(row(report, 'Latency of a canary, median')).toMatchObject({
      before: 0.8,
      now: 0.4,
      trend: 'better',
    });
    expect(row(report, 'Kinds of error in the journal')).toMatchObject({ before: null, now: 0 });
    expect(row(report, 'Oldest stuck job')).toMatchObject({ before: 0, now: null });
    expect(report.comparison?.notKnown).toBe(
      'Unknown for this release: the oldest stuck job, because `database` is not given.',
    );
    host.logged = null;
    const blind = await soak(host);
    expect(blind.report.state).toBe('failed');
    expect(blind.report.comparison?.notKnown).toContain(
      'the kinds of error, because the journal could not be read (journalctl failed);',
    );
    expect(blind.log).toContain(blind.report.comparison?.notKnown);
    // The ledger keeps what is known, for the releases to come.
    expect(host.proofs[0]?.figures).toMatchObject({ latencySeconds: 0.4, errorSignatures: null });
  });

  it('goes back in the next run if this one was cut off', async () => {
    const host = failing();
    await soak(host, desired);
    expect((await soak(host, rollback)).report).toMatchObject({ state: 'failed', rolledBackTo: 1 });
    expect(host.proofs).toHaveLength(1);
  });

  it('stays if it failed long ago: a policy that is changed undoes nothing of the past', async () => {
    const host = failing();
    await soak(host, desired);
    host.pass(3 * hour + 1);
    const { report, log } = await soak(host, rollback);
    expect(report).toMatchObject({ state: 'failed', rolledBackTo: null });
    expect(log).toMatch(/warning: not rolled back: release 3 failed at .*, more than 3 h ago/);
    expect(host.undone).toEqual([]);
  });

  it('stays with `soak-hours: 0`', async () => {
    const host = failing();
    await soak(host, desired);
    const off = { ...rollback, limits: { ...limits, wanted: seconds(0) } };
    expect((await soak(host, off)).report).toMatchObject({ state: 'failed', rolledBackTo: null });
    expect(host.undone).toEqual([]);
  });

  it('stays, with a warning, where no release is proven or the journals are gone', async () => {
    const host = new SimulatedHost(release(0), release(1));
    host.pass(hour, () => ({ unit: null }));
    host.pass(5, () => ({ events: { ...events, oomKill: 1 } }));
    host.pass(5, () => ({ events: { ...events, oomKill: 2 } }));
    const alone = await soak(host, rollback);
    expect(alone.report).toMatchObject({ state: 'failed', rolledBackTo: null });
    expect(alone.log).toContain('warning: not rolled back: no release before 1 is proven');
    const pruned = failing();
    pruned.releases = pruned.releases.map((each) => ({ ...each, kept: each.release < 3 }));
    expect((await soak(pruned, rollback)).log).toMatch(/warning: not rolled back to release 1: /);
    expect([host.undone, pruned.undone]).toEqual([[], []]);
  });

  it('stays as it is where another one was deployed meanwhile', async () => {
    const host = failing();
    host.afterwards = () => {
      host.releases = [...host.releases, release(4, { state: 'awaiting' })];
    };
    const { report, log } = await soak(host, rollback);
    expect(report).toMatchObject({ state: 'failed', rolledBackTo: null });
    expect(log).toContain('another release was deployed meanwhile');
    expect(host.undone).toEqual([]);
  });

  it('stays with a key that may only read', async () => {
    const host = failing();
    host.access = 'read';
    const { report, log } = await soak(host, rollback);
    expect(report).toMatchObject({ state: 'failed', rolledBackTo: null });
    expect(log).toContain('release 3 not rolled back: this key may only read');
    expect([host.proofs, host.undone]).toEqual([[], []]);
  });

  it('is neither recorded nor undone by a dry run', async () => {
    const host = failing();
    const { report, run } = await soak(host, rollback, true);
    expect(report).toMatchObject({ state: 'failed', rolledBackTo: null });
    expect(report.sentence).toMatch(/\(dry run: not recorded\)$/);
    expect(run.log).toContain('changed=false');
    expect([host.proofs, host.undone]).toEqual([[], []]);
  });

  it('is published even if the host cannot go back', async () => {
    const host = failing();
    const run = new RecordedRun();
    const agent = { ...host.agent, undo: async () => Promise.reject(new Error('cut')) };
    await expect(soakRelease(run, agent, rollback, noDatabase)).rejects.toThrow('cut');
    expect(run.log).toContain('soak=failed');
  });
});

describe('nothing is recorded', () => {
  it.each([
    ['of no release', [], 'none', /^Nothing to prove/],
    ['of the state before Celeriac', [release(0)], 'none', /^Nothing to prove/],
    [
      'of one that awaits its verdict',
      [release(1, { state: 'awaiting' })],
      'awaiting',
      /has been awaiting/,
    ],
    [
      'of one that was undone',
      [release(1, { state: 'undone', verdict: 'rolled-back' })],
      'none',
      /^Nothing/,
    ],
  ] as const)('%s', async (_, releases, state, sentence) => {
    const host = new SimulatedHost(...releases);
    host.pass(30 * hour);
    const { report } = await soak(host);
    expect(report.state).toBe(state);
    expect(report.sentence).toMatch(sentence);
    expect(host.proofs).toEqual([]);
  });

  it('with `soak-hours: 0`, or where the host takes no samples', async () => {
    const host = new SimulatedHost(release(1));
    host.pass(30 * hour);
    const off = await soak(host, { ...desired, limits: { ...limits, wanted: seconds(0) } });
    expect(off.report).toMatchObject({ state: 'unproven', verdict: null });
    expect(off.report.sentence).toContain('`soak-hours` is 0');
    const blind = new SimulatedHost(release(1));
    blind.sampling = false;
    blind.pass(30 * hour);
    const { report } = await soak(blind);
    expect(report.sentence).toContain('the host takes no samples of it');
    expect(report.verdict?.gapSeconds).toBe(30 * 3600);
    expect([host.proofs, blind.proofs]).toEqual([[], []]);
  });

  it('with a key that may only read', async () => {
    const host = new SimulatedHost(release(1));
    host.access = 'read';
    host.pass(25 * hour);
    const { report, log } = await soak(host);
    expect(report.state).toBe('proven');
    expect(log).toContain('this key may only read');
    expect(host.proofs).toEqual([]);
  });

  it('if another release was deployed meanwhile', async () => {
    const host = new SimulatedHost(release(1));
    host.pass(25 * hour);
    host.meanwhile = () => {
      host.releases = [release(1, { state: 'superseded' }), release(2, { state: 'awaiting' })];
    };
    const { report, log } = await soak(host, rollback);
    expect(report.state).toBe('superseded');
    expect(log).toContain('nothing was recorded');
    expect(host.undone).toEqual([]);
  });
});

describe('the journal and the jobs', () => {
  const proven = release(1, { state: 'proven', figures: { hours: 24, oldestJobSeconds: 0 } });
  const killed = (minute: number) => ({ events: { ...events, oomKill: minute > 50 ? 1 : 0 } });

  /** How often each was read, and how many verdicts and rollbacks there were by then. */
  async function readings(host: SimulatedHost, wanted = desired, dryRun = false) {
    const jobs: { since: number; proofs: number; undone: number }[] = [];
    const report = await soakRelease(
      new RecordedRun({ dryRun }),
      host.agent,
      wanted,
      async (since) => {
        jobs.push({ since, proofs: host.proofs.length, undone: host.undone.length });
        return { value: 7 };
      },
    );
    expect(host.readings).toBe(jobs.length);
    return { report, jobs };
  }

  it('are not read where nothing can be compared, until there is a verdict to keep', async () => {
    const host = new SimulatedHost(release(0), release(1));
    host.pass(hour);
    expect((await readings(host)).jobs).toEqual([]);
    host.pass(24 * hour);
    expect((await readings(host, desired, true)).jobs).toEqual([]);
    expect((await readings(host)).jobs).toHaveLength(1);
    expect(host.proofs[0]?.figures).toMatchObject({ oldestJobSeconds: 7, errorSignatures: 0 });
  });

  it('are not read with `soak-hours: 0`, or by a key that may only read and compares nothing', async () => {
    const host = new SimulatedHost(proven, release(2));
    host.pass(hour);
    const off = { ...desired, limits: { ...limits, wanted: seconds(0) } };
    expect((await readings(host, off)).jobs).toEqual([]);
    const first = new SimulatedHost(release(0), release(1));
    first.access = 'read';
    first.pass(25 * hour);
    expect((await readings(first)).jobs).toEqual([]);
  });

  it('are read from the start of the release on, which is before its gate', async () => {
    const host = new SimulatedHost(proven, release(2, { at: epochSeconds(begin - 300) }));
    host.pass(hour);
    const { report, jobs } = await readings(host);
    expect(jobs).toMatchObject([{ since: begin - 300 }]);
    expect(report.comparison?.rows).toContainEqual(
      expect.objectContaining({ title: 'Oldest stuck job', before: 0, now: 7 }),
    );
  });

  it('hold up neither the verdict on a release that failed nor its roll-back', async () => {
    const host = new SimulatedHost(proven, release(2));
    host.pass(hour, killed);
    const { report, jobs } = await readings(host);
    expect(report.state).toBe('failed');
    expect(jobs).toMatchObject([{ proofs: 1 }]);
    const back = new SimulatedHost(proven, release(2));
    back.pass(hour, killed);
    const gone = await readings(back, rollback);
    expect(gone.report).toMatchObject({ state: 'failed', rolledBackTo: 1 });
    expect(gone.jobs).toEqual([]);
    expect(gone.report.comparison?.notKnown).toContain('this run did not look for stuck jobs');
  });
});

it('ends the samples that a run which was cut off left going on', async () => {
  const host = new SimulatedHost(
    release(1, { state: 'proven', soakWhy: 'Proven.', figures: { hours: 24 } }),
  );
  await soak(host);
  expect(host.sampling).toBe(false);
  expect(host.proofs).toMatchObject([
    { verdict: 'proven', why: 'Proven.', figures: { hours: 24 } },
  ]);
});

it('begins anew after a rollback, whose restart is no remark', async () => {
  const again = begin + 2 * 3600;
  const host = new SimulatedHost(
    release(1, { since: epochSeconds(again) }),
    release(2, { state: 'undone', verdict: 'rolled-back', since: epochSeconds(again) }),
  );
  host.pass(4 * hour, (minute) => ({
    unit: {
      active: 'active',
      sub: 'running',
      invocation: minute < 2 * hour ? 'two' : 'one',
      restarts: 0,
      result: 'success',
    },
  }));
  const { report } = await soak(host);
  expect(report.verdict).toMatchObject({ coveredSeconds: 2 * 3600, notes: [] });
});
