import { describe, expect, test } from 'vitest';
import { actions } from '../../../src/config/action-inputs.ts';
import { readInputs } from '../../../src/config/read-inputs.ts';
import { GateError, HostError } from '../../../src/model/errors.ts';
import type { ReleasesFact, TransactionFact } from '../../../src/model/facts/ledger.ts';
import type { FactQuery, FactsFor } from '../../../src/model/facts.ts';
import type { JobRequest } from '../../../src/model/outcome.ts';
import type { Report } from '../../../src/model/report.ts';
import type { SamplesFact } from '../../../src/model/sample.ts';
import { epochSeconds, seconds } from '../../../src/model/units.ts';
import type { Agent } from '../../../src/ports/agent.ts';
import type { SummaryContent } from '../../../src/report/summary.ts';
import type { ActionRun } from '../../../src/use-case/run.ts';
import { verifyWorker } from '../../../src/use-case/verify-worker.ts';
import { sampleAt } from '../../lib/sample-report.ts';
import { brokerFact, facts, loggedFact, now, unitFact } from '../verify/facts.ts';

const secret = 'hunter2-is-the-key';

const released: ReleasesFact['releases'][number] = {
  release: 1,
  transaction: '20260118T110000-4f2a',
  at: epochSeconds(now - 1000),
  holder: 'https://example.com/run/1',
  actor: 'nika',
  sha: 'abc',
  verdict: 'none',
  why: '',
  state: 'awaiting',
  since: epochSeconds(now - 1000),
  by: 'https://example.com/run/1',
  soakWhy: '',
  figures: null,
  gateFigures: null,
  kept: true,
};

const awaiting = {
  transactions: ['20260118T110000-4f2a'],
  deadline: epochSeconds(now + 500),
};

const cleanup: TransactionFact = {
  id: '20260118T120000-4f2a',
  action: 'cleanup',
  holder: 'x',
  startedAt: epochSeconds(now - 100),
  state: 'committed',
  undoneBy: '',
  undoneWhy: '',
};

const pageOf = (one: number, more: boolean, restarted = false): SamplesFact => ({
  samples: [sampleAt(one, { at: epochSeconds(now - 600 + one * 60) })],
  cursor: { file: 'f', offset: one },
  more,
  restarted,
  sampling: true,
  soakSeconds: null,
  soakLimits: null,
});

interface Given {
  readonly dead?: readonly string[];
  readonly healthy?: boolean;
  readonly samples?: readonly SamplesFact[];
  readonly keepFiles?: ActionRun<'verify'>['keepFiles'];
  readonly confirms?: boolean;
  /** The release was confirmed before. */
  readonly state?: 'unproven';
  /** Of the probes, by the host. */
  readonly logged?: readonly string[];
}

/** One run of verify on a host that awaits a verdict; what it did, in order. */
function setUp(given: Given = {}) {
  const { dead = [], healthy = true, samples = [pageOf(0, false)] } = given;
  const log: string[] = [];
  const outputs = new Map<string, string>();
  const kept: Readonly<Record<string, string>>[] = [];
  const summaries: Omit<SummaryContent, 'action' | 'host' | 'cost'>[] = [];
  let asked = 0;
  let confirmed = given.state === 'unproven';
  const answers = (query: FactQuery): object => {
    const known = facts({
      unit: unitFact(healthy ? {} : { activeState: 'failed' }),
      releases: {
        releases: [confirmed ? { ...released, state: 'unproven' } : released],
        awaiting: confirmed ? null : awaiting,
        guarded: true,
      },
    });
    const samples_ = query.samples === undefined ? undefined : samples[asked++];
    return {
      ...known,
      consuming: { kind: 'consumes' },
      transactions: [cleanup],
      undoing: [{ id: cleanup.id, steps: [] }],
      samples: samples_,
    };
  };
  const agent = {
    hello: { kind: 'streamed' },
    prove: async () => true,
    async look<const Query extends FactQuery>(query: Query) {
      const names = Object.keys(query).filter((name) => name !== 'past');
      if (names.length === 0) {
        return { past: { working: null, open: [] } } as unknown as FactsFor<Query>;
      }
      // Those of the judgement, which are not what is tested here.
      if (query.logged !== undefined) return { logged: loggedFact() } as unknown as FactsFor<Query>;
      if (query.broker !== undefined) return { broker: brokerFact() } as unknown as FactsFor<Query>;
      log.push(`look ${names.join(' ')}`);
      const refused = names.length < 5 ? names.find((name) => dead.includes(name)) : undefined;
      if (refused !== undefined) {
        throw new HostError(`no ${refused}`, { step: 'look', evidence: [], next: '' });
      }
      return answers(query) as unknown as FactsFor<Query>;
    },
    async submit(request: JobRequest) {
      log.push('submit');
      const queues = 'queues' in request ? request.queues : [];
      const jobs = queues.map((where) => ({
        id: where,
        where,
        state: 'done' as const,
        detail: '',
        seconds: seconds(1),
      }));
      return { ok: true, jobs, problem: null, evidence: given.logged ?? [] };
    },
    async confirm() {
      log.push('confirm');
      confirmed = given.confirms ?? true;
      return confirmed;
    },
    clockSkew: null,
    [Symbol.asyncDispose]: async () => {},
  } as unknown as Agent;
  const values = {
    host: 'vps.example.com',
    'known-hosts': 'x',
    database: 'none',
    'ssh-key': secret,
  };
  const inputs = readInputs(
    actions.verify,
    (name) => (values as Readonly<Record<string, string>>)[name] ?? '',
    new Map(),
  );
  const note = (kind: string) => (text: string) => log.push(`${kind}: ${text}`);
  const run: ActionRun<'verify'> = {
    dryRun: false,
    docs: '',
    inputs,
    secrets: [secret],
    reporter: {
      info: () => {},
      notice: note('notice'),
      warning: note('warning'),
      error: note('error'),
      group: (_, body) => body(),
      summary: () => {},
      output: (name, value) => outputs.set(name, value),
    },
    meta: () => ({
      action: 'verify',
      holder: 'https://example.com/run/2',
      sha: 'def',
      actor: 'ben',
      lockTimeoutSeconds: seconds(1),
    }),
    look: (one, query) => one.look(query),
    onProgress: () => () => {},
    group: (_, body) => body(),
    showDetails: async () => {},
    showPlan: async () => {},
    pause: async () => {},
    warn: note('warning'),
    output: (name, value) => outputs.set(name, value),
    report: () => {},
    openAgent: async () => agent,
    keepFiles:
      given.keepFiles ??
      ((name, files) => {
        log.push(`keep ${name}`);
        kept.push(files);
        return '/tmp/kept';
      }),
    summarize: (_, content) => summaries.push(content),
  };
  const report = (): Report => JSON.parse(kept[0]?.['report.json'] ?? 'null');
  return { run, log, outputs, kept, summaries, report };
}

test('a healthy worker: confirmed first, then the report, whose folder is an output', async () => {
  const { run, log, outputs, kept, report } = setUp();
  await verifyWorker(run);
  expect(log.slice(log.indexOf('confirm'))).toEqual([
    'confirm',
    'look releases transactions',
    'look samples',
    'look undoing',
    'keep celeriac-celery-worker.service',
  ]);
  expect(outputs.get('report-path')).toBe('/tmp/kept');
  expect(outputs.get('confirmed')).toBe('20260118T110000-4f2a');
  expect(Object.keys(kept[0] ?? {})).toEqual(['report.html', 'report.json']);
  expect(kept[0]?.['report.html']).toContain('<p class="word">Healthy</p>');
  expect(report()).toMatchObject({
    host: 'vps.example.com',
    // Ten minutes of the day are over.
    soak: { state: 'unproven', wantedSeconds: 86_400 },
    by: { run: 'https://example.com/run/2', actor: 'ben', sha: 'def' },
    verdict: { conclusion: 'healthy' },
    timeline: { samples: 1 },
    // As it is after the verdict.
    releases: [{ release: 1, state: 'unproven' }],
    repairs: [],
  });
});

test('the job summary is that of the report, and says what was confirmed', async () => {
  const { run, summaries } = setUp();
  await verifyWorker(run);
  expect(summaries).toHaveLength(1);
  expect(summaries[0]?.checklist[2]?.text).toBe('6.3 a single probe sent: 1 to celery');
  expect(summaries[0]?.sentence).toMatch(/^Healthy: .* Confirmed: transaction /);
});

test('an unhealthy worker has a report, too, and fails', async () => {
  const { run, log, outputs, report } = setUp({ healthy: false });
  await expect(verifyWorker(run)).rejects.toThrow(GateError);
  expect(log).not.toContain('confirm');
  expect(outputs.get('report-path')).toBe('/tmp/kept');
  expect(report()).toMatchObject({
    verdict: { conclusion: 'unhealthy' },
    releases: [{ release: 1, state: 'awaiting' }],
  });
});

test('a release that could no longer be confirmed has a report, and fails', async () => {
  const { run, outputs } = setUp({ confirms: false });
  await expect(verifyWorker(run)).rejects.toThrow('could no longer be confirmed');
  expect(outputs.get('confirmed')).toBe('');
  expect(outputs.get('report-path')).toBe('/tmp/kept');
});

describe('samples', () => {
  test('are read to their end', async () => {
    const { run, report } = setUp({
      samples: [pageOf(0, true), pageOf(1, true), pageOf(2, false)],
    });
    await verifyWorker(run);
    expect(report().timeline?.samples).toBe(3);
  });

  test('are none twice when the host replaced their file meanwhile', async () => {
    const { run, report } = setUp({ samples: [pageOf(0, true), pageOf(0, false, true)] });
    await verifyWorker(run);
    expect(report().timeline?.samples).toBe(1);
  });

  test('that never end do not keep the run', async () => {
    const { run, report } = setUp({
      samples: Array.from({ length: 50 }, (_, n) => pageOf(n, true)),
    });
    await verifyWorker(run);
    expect(report().timeline?.samples).toBe(20);
  });

  test('that the host does not have are not known', async () => {
    const none = {
      ...pageOf(0, false),
      samples: [],
      cursor: null,
      sampling: false,
    };
    const { run, report } = setUp({ samples: [none] });
    await verifyWorker(run);
    expect(report().timeline).toBeNull();
  });
});

describe('no failure of the report changes the verdict', () => {
  test.each([
    ['releases', { repairs: null, unitDiff: null, releases: [{ state: 'awaiting' }] }],
    ['undoing', { repairs: null, unitDiff: null }],
    ['samples', { timeline: null }],
  ])('a host that does not answer about %s', async (dead, parts) => {
    const { run, log, outputs, report } = setUp({ dead: [dead] });
    await verifyWorker(run);
    expect(log).toContain('confirm');
    expect(outputs.get('healthy')).toBe('true');
    expect(report()).toMatchObject(parts);
  });

  test('a full disk', async () => {
    const { run, log, outputs, summaries } = setUp({
      keepFiles: () => {
        throw new Error('ENOSPC: no space left on device');
      },
    });
    await verifyWorker(run);
    expect(log).toContain('confirm');
    expect(outputs.get('report-path')).toBe('');
    expect(summaries[0]?.checklist[0]?.text).toMatch(/^6\.1 /);
    expect(log.at(-1)).toBe(
      'warning: could not write the report: ENOSPC: no space left on device; this does not affect the verdict',
    );
  });

  test('an answer that nobody expected', async () => {
    const broken = { ...pageOf(0, false), samples: null } as unknown as SamplesFact;
    const { run, log, outputs, summaries } = setUp({ samples: [broken] });
    await verifyWorker(run);
    expect(log).toContain('confirm');
    expect(outputs.get('report-path')).toBe('');
    expect(log.at(-1)).toContain('warning: could not write the report:');
    // The checks alone.
    expect(summaries[0]?.checklist[0]?.text).toMatch(/^celery-worker.service: active/);
  });
});

test('secrets of the inputs, and what looks like one, are in no file', async () => {
  const logged = `ERROR login with ${secret} at redis://:pass-of-redis@10.0.0.1/0 failed`;
  const { run, kept } = setUp({ logged: [logged] });
  await verifyWorker(run);
  const files = Object.values(kept[0] ?? {});
  expect(files).toHaveLength(2);
  for (const text of files) {
    expect(text).toContain('ERROR login with *** at');
    expect(text).not.toMatch(/hunter2|pass-of-redis/);
  }
});

describe('mode: soak', () => {
  const soaked = (changes: Given) => {
    const set = setUp(changes);
    return { ...set, run: { ...set.run, inputs: { ...set.run.inputs, mode: 'soak' as const } } };
  };

  test('leaves the page, too: the worker as it is now, and how far the proof is', async () => {
    const { run, log, outputs, report } = soaked({
      state: 'unproven',
      samples: [pageOf(0, false), pageOf(0, false)],
    });
    await verifyWorker(run);
    expect(outputs.get('soak')).toBe('unproven');
    expect(outputs.get('report-path')).toBe('/tmp/kept');
    expect(log).not.toContain('submit');
    expect(report()).toMatchObject({
      verdict: { conclusion: 'healthy', sentence: expect.stringContaining('Release 1: Unproven') },
      soak: { state: 'unproven' },
      probes: null,
    });
  });

  test('is as long as the deploy wanted it, on the page, too', async () => {
    const soakLimits = { failureLimit: 2, consecutive: 5, rateLimitMax: 4, errorRateMax: null };
    const page = { ...pageOf(0, false), soakSeconds: seconds(168 * 3600), soakLimits };
    const { run, report } = soaked({ state: 'unproven', samples: [page, page] });
    await verifyWorker(run);
    expect(report().soak).toMatchObject({
      wantedSeconds: 168 * 3600,
      notes: ['The deploy wanted a soak of 168 h, this run one of 24 h: the longer one applies.'],
    });
  });

  test('a release that failed is not healthy, however well its worker is now', async () => {
    const killed = { high: 0, max: 0, oom: 1, oomKill: 1 };
    const minute = (n: number) => pageOf(n, n < 2).samples;
    const [first, ...rest] = [0, 1, 2].flatMap(minute);
    if (first === undefined) throw new Error('no sample');
    const samples = [first, ...rest.map((each) => ({ ...each, events: killed }))];
    const whole = { ...pageOf(2, false), samples };
    const { run, report } = soaked({ state: 'unproven', samples: [whole, whole, whole] });
    await expect(verifyWorker(run)).rejects.toThrow(GateError);
    expect(report().verdict).toMatchObject({
      conclusion: 'unhealthy',
      sentence: expect.stringMatching(/^Release 1: Failed/),
    });
  });
});
