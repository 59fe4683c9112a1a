import { describe, expect, it } from 'vitest';
import type { JobResults, LegRecord, PlannedRollout } from '../../../../src/model/fleet.ts';
import {
  concludeRollout,
  endsWithout,
  stopReason,
} from '../../../../src/plan/fleet/conclude-rollout.ts';
import {
  type DeployResult,
  endOfDeploy,
  endOfRollBack,
} from '../../../../src/plan/fleet/host-state.ts';
import { jobOf } from '../../../../src/plan/fleet/job-results.ts';
import { legRecord, longestWhy, recordName } from '../../../../src/plan/fleet/leg-record.ts';

const green: DeployResult = {
  ok: true,
  dryRun: false,
  begun: true,
  result: 'committed',
  awaits: true,
  healthy: true,
  confirmed: true,
  rolledBack: null,
};
const failedGate: DeployResult = {
  ...green,
  ok: false,
  healthy: false,
  confirmed: false,
  rolledBack: 'success',
};

const record = (
  host: string,
  kind: LegRecord['kind'],
  more: Partial<LegRecord> = {},
): LegRecord => ({
  host,
  kind,
  attempt: 1,
  state: 'untouched',
  failed: false,
  why: '',
  transaction: '',
  ...more,
});
const begun = (host: string) => record(host, 'begun');
const ended = (host: string, deploy: DeployResult, attempt = 1): LegRecord =>
  record(host, 'ended', {
    ...endOfDeploy(deploy),
    attempt,
    transaction: deploy.result === 'committed' ? `of-${host}` : '',
  });
const deployed = (host: string, deploy = green) => [begun(host), ended(host, deploy)];

const plan: PlannedRollout = {
  hosts: ['web1', 'web2', 'web3', 'web4'],
  canaries: 1,
  maxFailures: 1,
  onFailure: 'host',
};
const statesOf = ({ hosts }: ReturnType<typeof concludeRollout>) => hosts.map(({ state }) => state);

describe('the end of a deploy', () => {
  it.each<[string, Partial<DeployResult>, string, RegExp]>([
    ['a new release that passed its gate', {}, 'confirmed', /the new release/],
    ['nothing to change, and healthy', { begun: false, result: null }, 'confirmed', /nothing to/],
    ['a dry run', { dryRun: true, healthy: false }, 'untouched', /dry run/],
    ['a clean-up that failed beside it', { ok: false }, 'confirmed', /another step failed/],
    ['a release that needs none', { awaits: false, confirmed: false }, 'confirmed', /new release/],
    [
      'a confirmation that failed',
      { ok: false, confirmed: false, rolledBack: 'success' },
      'rolled-back',
      /could not be confirmed/,
    ],
    [
      'one that the run could not end',
      { ok: false, confirmed: false, rolledBack: 'failure' },
      'unknown',
      /its rollback failed/,
    ],
    ['a failed gate', failedGate, 'rolled-back', /gate failed/],
    [
      'a rollback that failed',
      { ...failedGate, rolledBack: 'failure' },
      'unknown',
      /its rollback failed/,
    ],
    [
      'a gate that did not end',
      { ...failedGate, rolledBack: null },
      'unknown',
      /rolls it back unless/,
    ],
    ['an undone deploy', { ...failedGate, result: 'undone' }, 'rolled-back', /undone/],
    ['a deploy undone in part', { ...failedGate, result: 'undo-failed' }, 'unknown', /not all/],
    [
      'a lost connection',
      { ...failedGate, result: null },
      'unknown',
      /outcome of its transaction is unknown/,
    ],
    [
      'a host that cannot be reached',
      { ...failedGate, begun: false, result: null },
      'untouched',
      /before any change/,
    ],
  ])('%s', (_, more, state, why) => {
    const deploy = { ...green, ...more };
    const end = endOfDeploy(deploy);
    expect(end).toMatchObject({ state, failed: !deploy.ok });
    expect(end.why).toMatch(why);
  });
});

it('is not well when the gate passed and confirmed nothing: the host had gone back', () => {
  expect(endOfDeploy({ ...green, confirmed: false })).toMatchObject({
    state: 'unknown',
    failed: true,
    why: expect.stringContaining('confirmed nothing'),
  });
});

describe('a host before it is begun', () => {
  const two = [ended('web1', failedGate), ended('web2', failedGate), ended('web3', green)];
  const canStart = (maxFailures: number, records: readonly LegRecord[], host = 'web4') =>
    stopReason({ ...plan, canaries: 0, maxFailures }, host, records);
  it('is begun while fewer have failed than are too many', () => {
    expect(canStart(3, two)).toBeNull();
    expect(canStart(1, [])).toBeNull();
  });
  it('is not begun after that, and says which have failed', () => {
    expect(canStart(2, two)).toBe('not started: web1, web2 had failed');
  });
  it('is begun as a canary whatever becomes of the others', () => {
    const canaries = { ...plan, canaries: 2 };
    expect(stopReason(canaries, 'web2', [ended('web1', failedGate)])).toBeNull();
    expect(stopReason(canaries, 'web3', [ended('web1', failedGate)])).toContain('web1 had failed');
  });
  it('is not begun after a canary that failed, however many may fail', () => {
    const patient = { ...plan, maxFailures: 9 };
    expect(stopReason(patient, 'web3', [ended('web1', failedGate)])).toContain('web1 had failed');
    expect(stopReason(patient, 'web3', [ended('web2', failedGate)])).toBeNull();
  });
  it('names a few of many, in a record that can be read back', () => {
    const hosts = Array.from({ length: 300 }, (_, index) => `web-of-a-long-name-${index + 100}`);
    const failed = hosts.map((host) => ended(host, failedGate));
    const why = canStart(1, failed);
    expect(why).toMatch(/^not started: web-of-a-long-name-100, .* and 292 more had failed$/);
    expect(why?.length).toBeLessThan(longestWhy);
    const rest = { host: 'web1', attempt: 1, kind: 'ended', transaction: '' } as const;
    const end = { state: 'unknown', failed: true, why: 'x'.repeat(5000) } as const;
    expect(legRecord(end, rest).why).toHaveLength(longestWhy);
  });
  it('counts a host once', () => {
    expect(canStart(2, [ended('web1', failedGate), ended('web1', failedGate)])).toBeNull();
  });
});

describe('a rollout of which records are missing', () => {
  const most = plan.hosts.slice(0, 3).flatMap((host) => deployed(host));
  const run = { ...plan, onFailure: 'run' } as const;

  it.each<JobResults[string]>(['success', 'failure', 'cancelled', ''])(
    'does not know where a host without one is after `%s`, and is not well',
    (result) => {
      const end = concludeRollout(plan, most, { canary: 'success', 'batch-1': result });
      expect(end.ok).toBe(false);
      expect(statesOf(end)).toEqual(['confirmed', 'confirmed', 'confirmed', 'unknown']);
      expect(end.hosts[3]?.why).toContain('no record of it was found');
      expect(statesOf(concludeRollout(plan, most)).at(-1)).toBe('unknown');
    },
  );

  it('knows that a host whose job was skipped is untouched', () => {
    const jobs = { canary: 'cancelled', 'batch-1': 'skipped' } as const;
    const end = concludeRollout(plan, [], jobs);
    expect(statesOf(end)).toEqual(['unknown', 'untouched', 'untouched', 'untouched']);
    expect(end.ok).toBe(false);
  });

  it('is not well when a job failed, whatever the records say', () => {
    const all = plan.hosts.flatMap((host) => deployed(host));
    for (const result of ['failure', 'cancelled'] as const) {
      expect(concludeRollout(plan, all, { canary: 'success', 'batch-1': result }).ok).toBe(false);
    }
    expect(concludeRollout(plan, all, { canary: 'success', 'batch-1': 'success' }).ok).toBe(true);
  });

  it('does not take the record of an earlier attempt for the end of a job that succeeded', () => {
    const jobs = { canary: 'success', 'batch-1': 'success' } as const;
    for (const last of [begun('web4'), ended('web4', failedGate)]) {
      const end = concludeRollout(run, [...most, last], jobs);
      expect(end).toMatchObject({ ok: false, back: [] });
      expect(end.hosts[3]).toMatchObject({ state: 'unknown' });
    }
  });

  it('counts a failure whose record is missing, once for a job that left others', () => {
    const jobs = { canary: 'success', 'batch-1': 'failure' } as const;
    expect(concludeRollout(run, most, jobs).back).toHaveLength(3);
    expect(concludeRollout({ ...run, maxFailures: 2 }, most, jobs).back).toEqual([]);
  });

  it('rolls nothing back for a job that left none: it did perhaps not begin', () => {
    const jobs = { canary: 'success', 'batch-1': 'failure' } as const;
    const end = concludeRollout(run, deployed('web1'), jobs);
    expect(end).toMatchObject({ ok: false, back: [] });
    expect(statesOf(end)).toEqual(['confirmed', 'unknown', 'unknown', 'unknown']);
  });

  it('begins no host after a job that failed, if one failure is too many', () => {
    const hosts = Array.from({ length: 300 }, (_, index) => `web${index + 1}`);
    const large = { ...plan, hosts };
    expect(jobOf(large, 'web1')).toBe('canary');
    expect(jobOf(large, 'web257')).toBe('batch-1');
    expect(jobOf(large, 'web258')).toBe('batch-2');
    const jobs = { canary: 'success', 'batch-1': 'failure' } as const;
    expect(stopReason(large, 'web258', [], jobs)).toBe(
      'not started: a host of the job batch-1 had failed',
    );
    expect(stopReason({ ...large, maxFailures: 2 }, 'web258', [], jobs)).toBeNull();
    const one = [ended('web2', failedGate)];
    expect(stopReason({ ...large, maxFailures: 2 }, 'web258', one, jobs)).toBeNull();
    const canary = { canary: 'failure' } as const;
    expect(stopReason({ ...large, maxFailures: 9 }, 'web2', [], canary)).toContain('canary');
  });
});

describe('a rollout', () => {
  it('is well when every host was reached and none failed', () => {
    const end = concludeRollout(
      plan,
      plan.hosts.flatMap((host) => deployed(host)),
    );
    expect(end).toMatchObject({ ok: true, back: [] });
    expect(statesOf(end)).toEqual(Array(4).fill('confirmed'));
  });

  it('is not well when a host was not reached, and says so', () => {
    const jobs = { canary: 'failure', 'batch-1': 'skipped' } as const;
    const end = concludeRollout(plan, deployed('web1', failedGate), jobs);
    expect(end.ok).toBe(false);
    expect(statesOf(end)).toEqual(['rolled-back', 'untouched', 'untouched', 'untouched']);
    expect(end.hosts[3]?.why).toContain('not started');
  });

  const third = [
    ...deployed('web1'),
    ...deployed('web2'),
    ...deployed('web3', failedGate),
    record('web4', 'stopped', { why: 'not started: web3 had failed' }),
  ];

  it('leaves what was deployed before a failure, unless the policy says otherwise', () => {
    const end = concludeRollout(plan, third);
    expect(end).toMatchObject({ ok: false, back: [] });
    expect(statesOf(end)).toEqual(['confirmed', 'confirmed', 'rolled-back', 'untouched']);
  });

  it('takes all back by policy, but not before too many have failed', () => {
    const run = { ...plan, onFailure: 'run' } as const;
    expect(concludeRollout(run, third).back).toEqual([
      { host: 'web1', transaction: 'of-web1' },
      { host: 'web2', transaction: 'of-web2' },
    ]);
    expect(concludeRollout({ ...run, maxFailures: 2 }, third).back).toEqual([]);
  });

  it('takes all back by policy after one failed canary, however many may fail', () => {
    const run = { ...plan, onFailure: 'run', canaries: 2, maxFailures: 10 } as const;
    const records = [...deployed('web1'), ...deployed('web2', failedGate)];
    expect(concludeRollout(run, records).back.map(({ host }) => host)).toEqual(['web1']);
  });

  it('takes no host back that had nothing to change', () => {
    const idle = { ...green, begun: false, result: null };
    const records = [
      ...deployed('web1', idle),
      ...deployed('web2'),
      ...deployed('web3', failedGate),
    ];
    const run = { ...plan, onFailure: 'run' } as const;
    expect(concludeRollout(run, records).back.map(({ host }) => host)).toEqual(['web2']);
  });

  it('rolls back what the first attempt deployed, when a second had nothing to change', () => {
    const idle = { ...green, begun: false, result: null };
    const records = [
      ...deployed('web1', { ...green, ok: false }),
      ended('web1', idle, 2),
      ...deployed('web2'),
      ...deployed('web3', failedGate),
    ];
    const run = { ...plan, onFailure: 'run' } as const;
    expect(concludeRollout(run, records).back).toEqual([
      { host: 'web1', transaction: 'of-web1' },
      { host: 'web2', transaction: 'of-web2' },
    ]);
  });

  it('takes nothing back that went back before', () => {
    const idle = { ...green, begun: false, result: null };
    const records = [
      ...deployed('web1', failedGate),
      ended('web1', idle, 2),
      ...deployed('web3', failedGate),
    ];
    expect(concludeRollout({ ...plan, onFailure: 'run' }, records).back).toEqual([]);
  });

  it('tells the end after the way back, and of one that could not go', () => {
    const records = [
      ...third,
      record('web1', 'back', endOfRollBack('undone')),
      record('web2', 'back', endOfRollBack('failed')),
    ];
    const end = concludeRollout({ ...plan, onFailure: 'run' }, records);
    expect(statesOf(end)).toEqual(['rolled-back', 'unknown', 'rolled-back', 'untouched']);
    expect(end).toMatchObject({ ok: false, back: [] });
  });

  it('does not know where a host is whose job was lost, and counts it as failed', () => {
    const run = { ...plan, onFailure: 'run' } as const;
    const end = concludeRollout(run, [...deployed('web1'), begun('web2')]);
    expect(end.hosts[1]).toMatchObject({ state: 'unknown' });
    expect(end.hosts[1]?.why).toContain('rolls it back unless');
    expect(end.back.map(({ host }) => host)).toEqual(['web1']);
  });

  it('does not know where a host is whose way back was lost', () => {
    const run = { ...plan, onFailure: 'run' } as const;
    const end = concludeRollout(run, [...third, record('web1', 'returning')]);
    expect(end.hosts[0]).toMatchObject({ state: 'unknown' });
    expect(end.hosts[0]?.why).toContain('was being rolled back');
    expect(end.back.map(({ host }) => host)).toEqual(['web2']);
  });

  it('names what was to go back and has not, once nothing more is done', () => {
    const run = { ...plan, onFailure: 'run' } as const;
    const records = [...third, record('web1', 'back', endOfRollBack('undone'))];
    const [web1, web2] = endsWithout(concludeRollout(run, records));
    expect(web1).toMatchObject({ state: 'rolled-back' });
    expect(web2).toMatchObject({
      state: 'unknown',
      why: expect.stringContaining('was to be rolled back'),
    });
  });

  it('writes down twice under two names that a host has failed', () => {
    const failed = { ...endOfDeploy({ ...green, ok: false }), attempt: 1, transaction: '' };
    const names = [
      record('web1', 'ended', failed),
      record('web1', 'back', endOfRollBack('failed')),
      record('back-web1', 'ended', failed),
      record('failed-web1', 'back', endOfRollBack('undone')),
    ].map(recordName);
    expect(new Set(names).size).toBe(4);
    expect(names[0]).toBe('1-failed-web1');
  });

  it('believes the latest attempt', () => {
    const again = [
      ...deployed('web1', failedGate),
      record('web1', 'begun', { attempt: 2 }),
      ended('web1', green, 2),
    ];
    const end = concludeRollout({ ...plan, hosts: ['web1'] }, again.reverse());
    expect(end).toMatchObject({ ok: true, hosts: [{ state: 'confirmed' }] });
  });
});
