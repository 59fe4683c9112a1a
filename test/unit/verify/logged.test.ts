import { describe, expect, test } from 'vitest';
import type { LoggedFact } from '../../../src/model/facts/journal.ts';
import type { UnitFact } from '../../../src/model/facts/unit.ts';
import { type Bytes, epochSeconds, seconds } from '../../../src/model/units.ts';
import type { Check } from '../../../src/model/verdict.ts';
import { failedChecks, judge } from '../../../src/verify/checks.ts';
import type { GateRequest, VerifyEvidence } from '../../../src/verify/evidence.ts';
import { desired, evidence, facts, loggedFact, mib, now, stall, unitFact } from './facts.ts';

/* What the worker logged, and what the gate did to it. */

const at = epochSeconds(now);

const signature = (
  name: string,
  count: number,
  before: number | null,
): LoggedFact['signatures'][number] => ({
  signature: name,
  count,
  first: at,
  last: epochSeconds(now + 60),
  sample: `${name}: boom`,
  before,
});

const numbered = (
  sample: string,
  minutes: readonly (readonly [number, number])[],
): LoggedFact['numbered'][number] => ({
  sample,
  count: minutes.reduce((sum, [, count]) => sum + count, 0),
  first: at,
  last: epochSeconds(now + 60),
  minutes: minutes.map(([minute, count]) => ({ at: epochSeconds(now + 60 * minute), count })),
});

function checks(seen: VerifyEvidence, wanted = desired()): (id: string) => Check | undefined {
  const found = judge(seen, wanted).checks;
  return (id) => found.find((each) => each.id === id);
}

const logged = (changes: Partial<LoggedFact>) => evidence({ logged: loggedFact(changes) });

describe('HTTP 429 responses', () => {
  const storm = logged({
    numbered: [
      numbered('"GET /x HTTP/1.1" 429 0', [
        [0, 40],
        [1, 7],
      ]),
      numbered('status 429', [[0, 2]]),
      numbered('row 429 of 4290 done', [[0, 5000]]),
    ],
  });

  test('are counted by what their lines say, and fail beyond the limit', () => {
    const found = checks(storm)('rate-limits');
    expect(found).toMatchObject({
      verdict: 'fail',
      seen: '49 in 120 lines since 2026-01-18 10:46:03 UTC',
      expected: 'none',
    });
    expect(found?.evidence).toHaveLength(2);
    expect(found?.evidence[0]).toContain('47 times, 2026-01-18 11:02:03 UTC to');
    expect(failedChecks(judge(storm, desired()))).toEqual(['rate-limits']);
    expect(checks(storm, desired({ max429: 48 }))('rate-limits')?.expected).toBe('at most 48');
    expect(checks(storm, desired({ max429: 49 }))('rate-limits')?.verdict).toBe('pass');
  });

  test('fail beyond the limit for one minute, over all forms', () => {
    const wanted = (rateLimitMax: number) => desired({ max429: 1000, rateLimitMax });
    expect(checks(storm, wanted(41))('rate-limits')).toMatchObject({
      verdict: 'fail',
      seen: expect.stringContaining('42 in the minute from 2026-01-18 11:02:03 UTC'),
      expected: 'at most 41 in a minute',
    });
    expect(checks(storm, wanted(42))('rate-limits')?.verdict).toBe('pass');
  });

  test('a log full of the digits is none', () => {
    const digits = logged({ numbered: [numbered('row 429 of 4290 done', [[0, 9000]])] });
    expect(checks(digits, desired({ rateLimitMax: 0 }))('rate-limits')?.verdict).toBe('pass');
  });

  test('are a lower bound if journald dropped lines', () => {
    expect(checks(logged({ dropped: 812, complete: false }))('rate-limits')).toMatchObject({
      verdict: 'pass',
      seen: 'none in 120 lines since 2026-01-18 10:46:03 UTC; at least: journald dropped 812 lines, only the newest lines were read',
    });
  });
});

test('lines that journald dropped, or that were too many to read, are a warning', () => {
  expect(checks(logged({ dropped: 812 }))('journal')).toMatchObject({
    verdict: 'warn',
    seen: '120 lines since 2026-01-18 10:46:03 UTC; journald dropped 812 lines: counts are lower bounds',
  });
  expect(checks(logged({ complete: false }))('journal')?.seen).toContain(
    'only the newest 120 lines were read',
  );
  expect(judge(logged({ dropped: 812 }), desired()).conclusion).toBe('healthy');
});

describe('errors', () => {
  const broken = (before: number | null, earlier: number | null = 5000) =>
    logged({ errors: 2, tracebacks: 2, earlier, signatures: [signature('WorkError', 2, before)] });

  test('are a warning, or fail beyond max-errors, by signature', () => {
    expect(checks(broken(7))('errors')).toMatchObject({
      verdict: 'warn',
      seen: '2 in 120 lines since 2026-01-18 10:46:03 UTC',
      evidence: [expect.stringMatching(/^WorkError: 2 times, .*: WorkError: boom$/)],
    });
    const verdicts = [0, 1, 2].map(
      (maxErrors) => checks(broken(7), desired({ maxErrors }))('errors')?.verdict,
    );
    expect(verdicts).toEqual(['fail', 'fail', 'pass']);
  });

  test('of a new kind are named; without an earlier journal, nobody knows', () => {
    expect(checks(broken(0))('new-errors')).toMatchObject({
      verdict: 'warn',
      seen: '1 signature: WorkError',
    });
    expect(checks(broken(7))('new-errors')?.verdict).toBe('pass');
    expect(checks(broken(null, null))('new-errors')?.verdict).toBe('unknown');
    expect(checks(broken(0, 0))('new-errors')?.verdict).toBe('unknown');
    expect(checks(broken(null))('new-errors')?.verdict).toBe('unknown');
    expect(checks(evidence())('new-errors')).toBeUndefined();
  });
});

describe('the effects of the gate', () => {
  const job = { id: 'a', where: 'celery', state: 'done', detail: '', seconds: seconds(1) } as const;
  const request = { id: 'gate-job', title: '1 canary', request: {} } as GateRequest;
  const gate = {
    kind: 'sent',
    runs: [
      { request, result: { kind: 'report', report: { ok: true, jobs: [job], problem: null } } },
    ],
  } as const;

  const memory = (
    peak: number,
    events: Record<string, number> = {},
    current = 212,
    anonymous: number | null = null,
  ): UnitFact['memory'] => ({
    currentBytes: mib(current),
    anonBytes: anonymous === null ? null : mib(anonymous),
    peakBytes: mib(peak),
    events: { low: 0, high: 0, max: 0, oom: 0, oom_kill: 0, ...events },
  });

  const sent = (
    after: Partial<UnitFact>,
    changes: Partial<VerifyEvidence> = {},
    before: Partial<UnitFact> = { memory: memory(300) },
  ) =>
    evidence({
      gate,
      before: facts({ unit: unitFact(before) }),
      after: facts({ unit: unitFact(after) }),
      loggedMeanwhile: loggedFact({ earlier: null }),
      ...changes,
    });

  const ids = ['gate-peak', 'gate-oom', 'gate-rate-limits', 'gate-errors'];
  const verdictsOf = (seen: VerifyEvidence) => ids.map((id) => checks(seen)(id)?.verdict);

  test('none, and without a gate there is no such check', () => {
    expect(verdictsOf(sent({ memory: memory(500) }))).toEqual(['pass', 'pass', 'pass', 'pass']);
    expect(verdictsOf(evidence())).toEqual([undefined, undefined, undefined, undefined]);
  });

  test('a peak at MemoryHigh, or any throttling', () => {
    const high = sent({ memory: memory(600) });
    expect(checks(high)('gate-peak')).toMatchObject({
      verdict: 'warn',
      seen: '600 MiB with MemoryHigh 600 MiB',
    });
    expect(judge(high, desired()).conclusion).toBe('healthy');
    const throttled = sent({ memory: memory(500, { high: 3 }) });
    expect(checks(throttled)('gate-peak')?.seen).toContain('throttled 3 times');
  });

  test('a peak is a failure if the processes alone reach MemoryHigh, or wait for memory', () => {
    const held = (anonymous: number) => sent({ memory: memory(600, { high: 3 }, 600, anonymous) });
    expect(checks(held(200))('gate-peak')).toMatchObject({
      verdict: 'warn',
      seen: '600 MiB with MemoryHigh 600 MiB, throttled 3 times, 200 MiB of it not file cache',
    });
    expect(checks(held(599))('gate-peak')?.verdict).toBe('warn');
    expect(checks(held(600))('gate-peak')?.verdict).toBe('fail');
    expect(failedChecks(judge(held(600), desired()))).toEqual(['gate-peak']);
    const waiting = (percent: number, events: Record<string, number>) => {
      const seen = held(200);
      const unit = unitFact({ memory: memory(events.high ? 600 : 500, events, 500, 200) });
      const stalls = { memory: stall(percent, 0), io: null };
      const after = facts({
        unit,
        pressure: { machine: { memory: null, io: null }, unit: stalls },
      });
      return checks({ ...seen, after })('gate-peak');
    };
    expect(waiting(10, { high: 3 })?.verdict).toBe('warn');
    expect(waiting(11, { high: 3 })).toMatchObject({
      verdict: 'fail',
      seen: expect.stringMatching(/, stalled for 11 % of the last minute$/),
    });
    // The check `pressure` says so.
    expect(waiting(11, {})?.verdict).toBe('pass');
  });

  test('memory that the worker keeps is a warning, or a failure if it is limited', () => {
    const grown = (after: UnitFact['memory'], before: UnitFact['memory'] = memory(300)) =>
      sent({ memory: after }, {}, { memory: before });
    const verdict = (seen: VerifyEvidence, limit: Bytes | null = null) =>
      checks(seen, desired({ memoryReturnBytes: limit }))('memory-return');
    expect(verdict(grown(memory(300, {}, 276)))?.verdict).toBe('pass');
    const more = grown(memory(300, {}, 277));
    expect(verdict(more)).toMatchObject({
      verdict: 'warn',
      seen: '212 MiB before, 277 MiB after',
      expected: 'at most 64 MiB more than before',
    });
    expect(verdict(more, mib(65))?.verdict).toBe('pass');
    expect(verdict(more, mib(64))?.verdict).toBe('fail');
    // A fifth of a large worker, and its cache of files aside.
    const large = memory(900, {}, 800);
    expect(verdict(grown(memory(960, {}, 960), large))?.verdict).toBe('pass');
    expect(verdict(grown(memory(961, {}, 961), large))?.verdict).toBe('warn');
    const cached = grown(memory(900, {}, 900, 220), memory(300, {}, 212, 210));
    expect(verdict(cached)).toMatchObject({
      verdict: 'pass',
      seen: '210 MiB before, 220 MiB after',
    });
    expect(verdict(sent({ memory: null }))?.verdict).toBe('unknown');
    expect(verdict(evidence())).toBeUndefined();
  });

  test('what the probes made, if the app was asked to remove it', () => {
    const made = (...left: readonly (string | null | undefined)[]) => {
      const jobs = left.map((each, index) => ({
        ...job,
        id: `id-${index}`,
        ...(each !== undefined && { left: each }),
      }));
      const result = { kind: 'report', report: { ok: true, jobs, problem: null } } as const;
      return checks(sent({}, { gate: { kind: 'sent', runs: [{ request, result }] } }))('gate-rows');
    };
    expect(made(undefined)).toBeUndefined();
    expect(made(null, null)).toMatchObject({ verdict: 'pass', seen: '2 of 2 probes cleaned up' });
    expect(made(null, 'answered HTTP 404')).toMatchObject({
      verdict: 'warn',
      seen: '1 of 2 probes cleaned up; id-1: answered HTTP 404',
      evidence: ['celery (id-1): answered HTTP 404'],
    });
  });

  test('a peak from before the gate does not count', () => {
    const old = { memory: memory(650, { high: 9 }) };
    expect(checks(sent(old, {}, old))('gate-peak')).toMatchObject({
      verdict: 'pass',
      seen: '212 MiB with MemoryHigh 600 MiB',
    });
  });

  test('no counters, or those of another start, prove nothing', () => {
    const [peak, oom] = verdictsOf(sent({ memory: null }));
    expect([peak, oom]).toEqual(['unknown', 'unknown']);
    const properties = { ...unitFact().properties, InvocationID: 'b' };
    expect(checks(sent({ properties }))('gate-oom')?.verdict).toBe('unknown');
    const unlimited = { ...unitFact().properties, MemoryHigh: 'infinity' };
    expect(checks(sent({ properties: unlimited }))('gate-peak')).toBeUndefined();
  });

  test('a kill during the gate, but none before it', () => {
    const killed = { memory: memory(500, { oom_kill: 1 }) };
    expect(checks(sent(killed))('gate-oom')).toMatchObject({
      verdict: 'fail',
      seen: '1 process killed',
    });
    expect(checks(sent(killed, {}, killed))('gate-oom')?.verdict).toBe('pass');
  });

  test('a 429 during the gate', () => {
    const meanwhile = loggedFact({ numbered: [numbered('HTTP status 429', [[0, 1]])] });
    const found = checks(sent({}, { loggedMeanwhile: meanwhile }));
    expect(found('gate-rate-limits')).toMatchObject({ verdict: 'fail', seen: '1 during the gate' });
    const wanted = desired({ max429: 1 });
    const tolerated = checks(sent({}, { loggedMeanwhile: meanwhile }), wanted);
    expect(tolerated('gate-rate-limits')?.verdict).toBe('pass');
  });

  const during = (whole: readonly LoggedFact['signatures'][number][], changes = {}) =>
    sent(
      {},
      {
        logged: loggedFact({ errors: 2, signatures: whole, ...changes }),
        loggedMeanwhile: loggedFact({ errors: 2, signatures: [signature('WorkError', 2, null)] }),
      },
    );

  test.each([
    ['new', [signature('WorkError', 2, 0)], {}, 'warn'],
    ['new, with nothing to compare with', [signature('WorkError', 2, null)], {}, 'unknown'],
    [
      'new, without a journal before',
      [signature('WorkError', 2, null)],
      { earlier: null },
      'unknown',
    ],
    ['new to an empty journal', [signature('WorkError', 2, 0)], { earlier: 0 }, 'unknown'],
    ['beyond those listed', [], { moreSignatures: 3 }, 'unknown'],
    ['known since the release', [signature('WorkError', 3, 0)], {}, 'pass'],
    ['known before the release', [signature('WorkError', 2, 1)], {}, 'pass'],
  ] as const)('an error that is %s', (_, whole, changes, verdict) => {
    const seen = during(whole, changes);
    expect(checks(seen)('gate-errors')?.verdict).toBe(verdict);
    expect(judge(seen, desired()).conclusion).toBe('healthy');
  });

  test('a new error fails only beyond max-errors', () => {
    const seen = during([signature('WorkError', 2, 0)]);
    expect(checks(seen, desired({ maxErrors: 1 }))('gate-errors')).toMatchObject({
      verdict: 'fail',
      seen: '1 signature: WorkError; 2 errors',
      expected: 'only errors that occurred before; of others, at most 1',
      evidence: [expect.stringContaining('WorkError: 2 times')],
    });
    expect(checks(seen, desired({ maxErrors: 2 }))('gate-errors')?.verdict).toBe('warn');
  });
});
