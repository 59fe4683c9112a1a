import { describe, expect, test } from 'vitest';
import type {
  ReleasesFact,
  TransactionFact,
  UndoingFact,
} from '../../../src/model/facts/ledger.ts';
import type { JobReport } from '../../../src/model/outcome.ts';
import { epochSeconds, seconds } from '../../../src/model/units.ts';
import { reportShape } from '../../../src/report/report-shape.ts';
import type { GateRequest, GateResult } from '../../../src/verify/evidence.ts';
import { buildReport, type ReportParts, shownTransactions } from '../../../src/verify/report.ts';
import { sampleAt } from '../../lib/sample-report.ts';
import { brokerFact, brokerSearch, evidence, facts, mib, now, unitFact } from './facts.ts';

const run = 'https://github.com/example/app/actions/runs/1';

/** The broker could not be asked. */
const unasked = { kind: 'not-asked', why: 'no broker' } as const;

const parts = ({
  evidence: seen = evidence({ broker: unasked }),
  ...changes
}: Partial<ReportParts> = {}): ReportParts => ({
  celeriac: '0.1.0',
  host: 'vps.example.com',
  by: { run, actor: 'nika', sha: '3f2c9e1' },
  verdict: { conclusion: 'healthy', checks: [] },
  sentence: 'Healthy: 0 checks passed.',
  evidence: seen,
  releases: seen.before.releases,
  samples: null,
  transactions: null,
  steps: null,
  soak: null,
  comparison: null,
  ...changes,
});

type LedgerRelease = ReleasesFact['releases'][number];
const released = (release: number, changes: Partial<LedgerRelease> = {}): LedgerRelease => ({
  release,
  transaction: release === 0 ? null : `2026011${release}T020000-4f2a`,
  at: epochSeconds(now - 10_000 + release * 100),
  holder: run,
  actor: 'nika',
  sha: `sha${release}`,
  verdict: release === 0 ? 'none' : 'confirmed',
  why: '',
  state: release === 0 ? 'before' : 'unproven',
  since: epochSeconds(now - 10_000 + release * 100 + 50),
  by: run,
  soakWhy: '',
  figures: null,
  gateFigures: null,
  kept: true,
  ...changes,
});

const withReleases = (
  releases: readonly LedgerRelease[],
  awaiting: ReleasesFact['awaiting'] = null,
) => evidence({ before: facts({ releases: { releases, awaiting, guarded: false } }) });

const request = (id: GateRequest['id'], title: string): GateRequest => ({
  id,
  title,
  request: {
    kind: 'canary',
    unit: 'celery-worker.service',
    queues: [],
    timeoutSeconds: 1,
  } as never,
});

const job = (where: string, state: JobReport['jobs'][number]['state'], took: number) => ({
  id: `${where}-${took}`,
  where,
  state,
  detail: state === 'done' ? '' : 'no answer',
  seconds: seconds(took),
});

const sent = (...reports: readonly JobReport[]): GateResult => ({
  kind: 'sent',
  runs: reports.map((report, index) => ({
    request: request(index === 0 ? 'gate-job' : 'gate-batch', 'canaries'),
    result: { kind: 'report', report },
  })),
});

test('a report of what is known has the published shape', () => {
  const report = buildReport(
    parts({
      samples: [sampleAt(0), sampleAt(1)],
      transactions: [],
      steps: [],
      evidence: withReleases([released(0), released(1)]),
    }),
  );
  expect(reportShape.strict().parse(JSON.parse(JSON.stringify(report)))).toEqual(report);
});

test('what was not read is null, never empty or good', () => {
  expect(buildReport(parts())).toMatchObject({
    timeline: null,
    probes: null,
    latency: null,
    soak: null,
    unitDiff: null,
    repairs: null,
    comparison: null,
    worker: { queues: null },
  });
});

describe('worker', () => {
  test('its state, memory and limits are the newest ones', () => {
    const after = facts({ unit: unitFact({ activeState: 'failed', processes: [] }) });
    const { worker } = buildReport(parts({ evidence: evidence({ after, broker: unasked }) }));
    expect(worker).toEqual({
      activeState: 'failed',
      subState: 'running',
      since: now - 960,
      processes: 0,
      restarts: 0,
      memory: { current: mib(212), peak: mib(300), high: mib(600), max: mib(800) },
      queues: null,
    });
  });

  test('without memory accounting, its memory is not known', () => {
    const before = facts({ unit: unitFact({ memory: null }) });
    expect(buildReport(parts({ evidence: evidence({ before }) })).worker.memory).toBeNull();
  });

  test('without memory accounting, its memory is what a fresh sample adds up', () => {
    const before = facts({ unit: unitFact({ memory: null }) });
    const samples = [sampleAt(0, { at: epochSeconds(now - 60) })];
    const seen = evidence({ before });
    expect(buildReport(parts({ samples, evidence: seen })).worker.memory).toEqual({
      current: samples[0]?.memory?.current,
      peak: null,
      high: mib(600),
      max: mib(800),
    });
  });

  test('queues are those of a fresh sample only', () => {
    const fresh = sampleAt(0, { at: epochSeconds(now - 60) });
    const stale = sampleAt(0, { at: epochSeconds(now - 600) });
    expect(buildReport(parts({ samples: [fresh] })).worker.queues).toEqual(fresh.worker?.queues);
    expect(buildReport(parts({ samples: [stale] })).worker.queues).toBeNull();
  });

  test('queues are those of the broker, if it could be asked', () => {
    const samples = [sampleAt(0, { at: epochSeconds(now - 60) })];
    const asked = evidence({ broker: brokerSearch(brokerFact({ lengths: { celery: 41 } })) });
    expect(buildReport(parts({ samples, evidence: asked })).worker.queues).toEqual({ celery: 41 });
  });
});

describe('probes', () => {
  const report = buildReport(
    parts({
      evidence: evidence({
        gate: sent(
          { ok: true, problem: null, jobs: [job('celery', 'done', 3)] },
          {
            ok: false,
            problem: null,
            jobs: [
              job('batch', 'timed-out', 60),
              job('celery', 'done', 1),
              job('celery', 'done', 2),
            ],
          },
        ),
      }),
    }),
  );

  test('latency is of those that were done, by queue', () => {
    expect(report.latency).toEqual([
      { where: 'celery', sent: 3, done: 3, median: 2, slowest: 3 },
      { where: 'batch', sent: 1, done: 0, median: null, slowest: null },
    ]);
  });

  test('a probe that timed out has no latency', () => {
    expect(report.probes?.map(({ where, state, seconds }) => [where, state, seconds])).toEqual([
      ['celery', 'done', 3],
      ['batch', 'timed-out', null],
      ['celery', 'done', 1],
      ['celery', 'done', 2],
    ]);
  });

  test('they are marked at the time of the report', () => {
    expect(report.marks.at(-1)).toEqual({ at: now, kind: 'job', text: '4 probes' });
  });

  test('what could not be sent says why', () => {
    const gate: GateResult = {
      kind: 'sent',
      runs: [
        {
          request: request('gate-job', 'one canary to celery'),
          result: { kind: 'fault', problem: 'no such app', evidence: [], next: '' },
        },
        { request: request('gate-batch', '3 canaries'), result: { kind: 'not-sent' } },
      ],
    };
    const { probes, latency, marks } = buildReport(parts({ evidence: evidence({ gate }) }));
    expect(probes?.map(({ state, detail }) => [state, detail])).toEqual([
      ['not-sent', 'no such app'],
      ['not-sent', 'the previous probe failed'],
    ]);
    expect(latency).toEqual([]);
    expect(marks).toEqual([]);
  });
});

describe('releases', () => {
  test('are newest first, each with what became of it', () => {
    const found = [
      released(0),
      released(1, { why: 'verified' }),
      released(2, { verdict: 'rolled-back', state: 'undone', why: 'requested' }),
      released(3, { state: 'proven', why: 'verified', soakWhy: 'Proven: 24 h.' }),
      released(4, { state: 'awaiting', verdict: 'none' }),
    ];
    const { releases } = buildReport(parts({ evidence: withReleases(found) }));
    expect(releases?.map(({ release, state, why }) => [release, state, why])).toEqual([
      [4, 'awaiting', ''],
      [3, 'proven', 'Proven: 24 h.'],
      [2, 'undone', 'requested'],
      [1, 'unproven', 'verified'],
      [0, 'before', ''],
    ]);
    expect(releases?.map(({ since }) => since === null)).toEqual([
      false,
      false,
      false,
      false,
      true,
    ]);
  });

  test('of very many, the newest are kept', () => {
    const many = Array.from({ length: 400 }, (_, release) => released(release));
    const { releases, marks } = buildReport(parts({ evidence: withReleases(many) }));
    expect(releases).toHaveLength(50);
    expect(releases?.[0]?.release).toBe(399);
    expect(marks.length).toBeLessThanOrEqual(300);
  });
});

describe('changes and repairs', () => {
  const step = (op: string, changes: Partial<UndoingFact['steps'][number]> = {}) => ({
    op,
    unit: null,
    path: null,
    title: `${op} title`,
    diff: '',
    cut: false,
    rows: [],
    rowCount: 0,
    ...changes,
  });
  const present = released(2);
  const id = present.transaction ?? '';
  const found = withReleases([released(1), present]);

  test('the diff of the unit is that of the present release, in its order', () => {
    const file = '/etc/systemd/system/celery-worker.service';
    const steps = [
      step('write-file', { path: '/etc/sysctl.d/90-x.conf', diff: '', cut: true }),
      step('install-unit', {
        path: `${file}.d/celeriac.conf`,
        diff: `--- ${file}.d/celeriac.conf\n+second`,
      }),
      step('install-unit', { path: file, diff: `--- ${file}\n+first` }),
    ];
    const { unitDiff } = buildReport(parts({ evidence: found, steps: [{ id, steps }] }));
    expect(unitDiff).toEqual({
      release: 2,
      text: `--- ${file}\n+first\n--- ${file}.d/celeriac.conf\n+second`,
      cut: false,
    });
  });

  test('a release that was rolled back is not the present one', () => {
    const releases = [released(1), released(2, { verdict: 'rolled-back' })];
    const steps = [{ id: released(1).transaction ?? '', steps: [] }];
    const { unitDiff } = buildReport(parts({ evidence: withReleases(releases), steps }));
    expect(unitDiff).toEqual({ release: 1, text: '', cut: false });
  });

  const cleanup = (ident: string, changes: Partial<TransactionFact> = {}): TransactionFact => ({
    id: ident,
    action: 'cleanup',
    holder: run,
    startedAt: epochSeconds(now - 500),
    state: 'committed',
    undoneBy: '',
    undoneWhy: '',
    ...changes,
  });

  test('repairs count their rows, also those that the host does not list', () => {
    const repair = { rows: ['jobs 1: status', 'jobs 2: status'], rowCount: 13 };
    const unlisted = step('repair-jobs', { rowCount: 1, title: 'repair links' });
    const jobs = step('repair-jobs', { ...repair, title: 'repair jobs' });
    const steps = [{ id: 'c1', steps: [unlisted, jobs] }];
    const { repairs, marks } = buildReport(
      parts({ transactions: [cleanup('c1'), cleanup('c2', { state: 'undone' })], steps }),
    );
    expect(repairs).toEqual([
      { transaction: 'c1', at: now - 500, run, rows: 14, what: ['repair jobs', 'repair links'] },
    ]);
    expect(marks).toEqual([{ at: now - 500, kind: 'repair', text: '14 rows repaired' }]);
  });

  test('the host is asked for the steps that are shown, and for no others', () => {
    const { releases } = found.before;
    const transactions = [
      cleanup('c1'),
      cleanup('c2', { state: 'undone' }),
      cleanup('d1', { action: 'deploy-worker' }),
    ];
    expect(shownTransactions(releases, transactions)).toEqual([id, 'c1']);
  });
});

test('evidence of a check is bounded, and says so', () => {
  const check = {
    id: 'errors',
    title: 'errors',
    verdict: 'fail',
    seen: '',
    expected: '',
    next: '',
  };
  const evidenceLines = ['x'.repeat(9000), ...Array.from({ length: 999 }, (_, n) => `line ${n}`)];
  const checks = [
    { ...check, evidence: evidenceLines },
  ] as unknown as ReportParts['verdict']['checks'];
  const [bounded] = buildReport(parts({ verdict: { conclusion: 'unhealthy', checks } })).checks;
  expect(bounded?.evidence).toHaveLength(201);
  expect(bounded?.evidence[0]).toHaveLength(2007);
  expect(bounded?.evidence.at(-1)).toBe('… (800 more lines cut)');
});
