import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Sample } from '../../../../src/model/sample.ts';
import type { SoakLimits, SoakVerdict } from '../../../../src/model/soak.ts';
import { bytes, epochSeconds, MiB, seconds } from '../../../../src/model/units.ts';
import { judgeSoak } from '../../../../src/verify/soak/judge.ts';
import {
  begin,
  disk,
  events,
  journal,
  limits,
  memory,
  minutes,
  sampleAt,
  unit,
} from './samples.ts';

const hour = 60;

/** The verdict as of the last sample, or as of `now`. */
function judge(
  samples: readonly Sample[],
  more: Partial<SoakLimits> & { now?: number; transactions?: readonly number[] } = {},
): SoakVerdict {
  const { now = samples.at(-1)?.at ?? begin, transactions = [], ...changed } = more;
  return judgeSoak(
    {
      release: 2,
      since: begin,
      samples,
      now: epochSeconds(now),
      transactions: transactions.map(epochSeconds),
    },
    { ...limits, ...changed },
  );
}

/** The same minutes, by a clock that was set by so many of them. */
const clockSet = (samples: readonly Sample[], by: number): readonly Sample[] =>
  samples.map((sample) => ({ ...sample, at: epochSeconds(sample.at + by * 60) }));

describe('24 hours', () => {
  it('without a failure prove a release, at hour 24 and not a minute before', () => {
    const before = judge(minutes(0, 24 * hour - 1));
    expect(before.state).toBe('unproven');
    expect(before.sentence).toBe('Unproven: 23.9 h of 24 h.');
    expect(before.earliestEnd).toBe(begin + 24 * 3600);
    const after = judge(minutes(0, 30 * hour));
    expect(after.state).toBe('proven');
    expect(after.decidedAt).toBe(begin + 24 * 3600);
    expect(after.sentence).toBe('Proven: 24 h of 24 h without a failure.');
    expect(after.hours).toHaveLength(24);
    expect(after.hours.every(({ coveredSeconds }) => coveredSeconds === 3600)).toBe(true);
    expect(after.aspects.map(({ verdict }) => verdict)).toEqual(Array(9).fill('pass'));
  });

  it('take as much longer as the samples have gaps', () => {
    const samples = [...minutes(0, 5 * hour), ...minutes(6 * hour, 26 * hour)];
    const early = judge(samples.filter(({ at }) => at <= begin + 24 * 3600));
    expect(early.state).toBe('unproven');
    expect(early.gaps).toEqual([
      { from: begin + 5 * 3600, to: begin + 6 * 3600, why: 'no samples' },
    ]);
    const late = judge(samples);
    expect(late).toMatchObject({ state: 'proven', decidedAt: begin + 25 * 3600, gapSeconds: 3600 });
    expect(late.hours[5]).toMatchObject({ coveredSeconds: 0, gapSeconds: 3600 });
    expect(late.sentence).toContain('gaps of 1 h');
  });

  it('do not prove a release with more than 5 % of gaps', () => {
    const samples = [...minutes(0, 5 * hour), ...minutes(7 * hour, 26 * hour)];
    const verdict = judge(samples);
    expect(verdict.state).toBe('unproven');
    const lost = verdict.hours.filter(({ gapSeconds }) => gapSeconds === 3600);
    expect(lost.map(({ at }) => (at - begin) / 3600)).toEqual([5, 6]);
    expect(verdict.coveredSeconds).toBe(24 * 3600);
    expect(verdict.sentence).toContain('more than 5 % of the time is without evidence');
    // 2 h are 5 % of 40 h.
    expect(judge([...samples, ...minutes(26 * hour + 1, 50 * hour)])).toMatchObject({
      state: 'proven',
      decidedAt: begin + 40 * 3600,
    });
  });

  it('begin when the release is unproven, with a gap if the sampler was late', () => {
    const verdict = judge([...minutes(-30, -20), ...minutes(10, 60)]);
    expect(verdict).toMatchObject({ coveredSeconds: 50 * 60, gapSeconds: 600 });
    expect(judge([])).toMatchObject({ state: 'unproven', coveredSeconds: 0 });
  });

  it('show a gap that has not ended', () => {
    const verdict = judge(minutes(0, 60), { now: begin + 2 * 3600 });
    expect(verdict.gaps).toEqual([{ from: begin + 3600, to: begin + 7200, why: 'no samples yet' }]);
    expect(verdict.state).toBe('unproven');
  });

  it('survive one line that was torn, and a sampler that is a minute late', () => {
    const samples = minutes(0, 120).filter((_, index) => index % 2 === 0);
    expect(judge(samples)).toMatchObject({ coveredSeconds: 7200, gapSeconds: 0 });
  });

  it('survive a reboot, whose time is a gap', () => {
    const rebooted = (minute: number): Partial<Sample> => ({
      boot: 'boot-2',
      unit: { ...unit, invocation: 'b1', active: minute === 65 ? 'activating' : 'active' },
      events,
    });
    const verdict = judge([...minutes(0, 60), ...minutes(65, 120, rebooted)]);
    expect(verdict.failure).toBeNull();
    expect(verdict.gaps).toEqual([
      { from: begin + 3600, to: begin + 3900, why: 'the host was off or starting' },
    ]);
    expect(verdict.notes).toEqual([expect.stringContaining('The host was rebooted')]);
  });

  it('do not count twice what a clock that is set back repeats', () => {
    const verdict = judge([...minutes(0, 100), ...clockSet(minutes(101, 161), -60)]);
    expect(verdict).toMatchObject({ coveredSeconds: 161 * 60, gapSeconds: 0, failure: null });
    expect(verdict.notes).toEqual([expect.stringContaining('set back by 1 h')]);
    // Also to before the release.
    const early = judge([...minutes(0, 100), ...clockSet(minutes(101, 200), -600)]);
    expect(early.coveredSeconds).toBe(200 * 60);
  });

  it('do not count those of the release before, whose clock was ahead', () => {
    const killed = { events: { ...events, oomKill: 1 } };
    const before = (release: number | null) =>
      clockSet(
        minutes(-100, -1, () => ({ release, ...killed })),
        180,
      );
    const own = minutes(0, 60, () => ({ release: 2 }));
    const verdict = judge([...before(1), ...own]);
    expect(verdict).toMatchObject({ coveredSeconds: 3600, gapSeconds: 0, faults: [], notes: [] });
    // An earlier version did not write which release it was.
    expect(judge([...before(null), ...minutes(0, 60)]).coveredSeconds).toBeGreaterThan(3600);
  });

  it('begin anew after another release that did not last, whatever its clock', () => {
    const of = (release: number) => () => ({ release });
    const samples = [
      ...clockSet(minutes(-300, -200, of(2)), 600),
      ...clockSet(minutes(-199, -100, of(3)), 600),
      ...minutes(-99, 30, of(2)),
    ];
    expect(judge(samples)).toMatchObject({ coveredSeconds: 30 * 60, gapSeconds: 0, faults: [] });
  });

  it('count where the release that ran is not known', () => {
    const samples = minutes(0, 60, (at) => ({ release: at % 2 === 0 ? 2 : null }));
    expect(judge(samples).coveredSeconds).toBe(3600);
  });

  it('are no shorter where the clock is set forward, and have no gap', () => {
    const samples = [...minutes(0, 100), ...clockSet(minutes(101, 24 * hour), 600)];
    const verdict = judge(samples);
    expect(verdict).toMatchObject({ state: 'proven', gapSeconds: 0, coveredSeconds: 86_400 });
    expect(verdict.notes).toEqual([expect.stringContaining('set forward by 10 h')]);
    expect(judge(samples.slice(0, -1)).state).toBe('unproven');
  });

  it('are judged the same by a run that comes late', () => {
    const samples = minutes(0, 40 * hour, (minute) =>
      minute === 25 * hour ? { events: { ...events, oomKill: 1 } } : {},
    );
    for (const until of [24, 25, 26, 40]) {
      const seen = samples.filter(({ at }) => at <= begin + until * 3600);
      expect(judge(seen)).toMatchObject({ state: 'proven', decidedAt: begin + 24 * 3600 });
    }
  });

  it('prove nothing in minutes in which the unit could not be inspected', () => {
    const verdict = judge(minutes(0, 60, (at) => (at > 30 ? { unit: null } : {})));
    expect(verdict).toMatchObject({ coveredSeconds: 1800, gapSeconds: 1800 });
    expect(verdict.gaps[0]?.why).toBe('the unit could not be inspected');
  });

  it('name what was never known, and do not call it pass', () => {
    const blind = judge(
      minutes(0, 24 * hour, () => ({ memory: null, worker: null, events: null })),
    );
    expect(blind.state).toBe('proven');
    expect(blind.sentence).toContain('not known: no process killed, memory below memorymax');
    const unknown = blind.aspects.filter(({ verdict }) => verdict === 'unknown');
    expect(unknown.map(({ limit }) => limit)).toEqual(['oom', 'memory', 'queues', 'leak']);
  });
});

describe('a failing minute', () => {
  const at = 7 * hour;
  const cases: readonly [string, Partial<Sample>, string, RegExp][] = [
    [
      'restarted by systemd',
      { unit: { ...unit, restarts: 1, invocation: 'a2' } },
      'restarts',
      /systemd restarted the worker \(NRestarts 1\)/,
    ],
    ['OOM kill', { events: { ...events, oomKill: 1 } }, 'oom', /killed 1 process of the worker/],
    [
      'at MemoryMax',
      { memory: { ...memory, current: bytes(1024 * MiB), anon: bytes(1000 * MiB) } },
      'memory',
      /all that MemoryMax \(1 GiB\) allows/,
    ],
    [
      'inactive',
      { unit: { ...unit, active: 'failed', sub: 'failed', result: 'exit-code' } },
      'unit',
      /not active: failed \(failed, result exit-code\)/,
    ],
    [
      '429s',
      { journal: { ...journal, rateLimited: 12 } },
      'rate-limits',
      /12 responses with HTTP 429 in a minute of the journal; at most 0/,
    ],
    ['errors', { journal: { ...journal, errors: 6 } }, 'errors', /6 errors in a minute/],
    ['tracebacks', { journal: { ...journal, tracebacks: 6 } }, 'errors', /6 errors in a minute/],
    [
      'full disk',
      { disk: [{ ...disk, free: bytes(800 * MiB) }] },
      'disk',
      /\/ is 96 % full: 800 MiB left/,
    ],
    ['no inodes', { disk: [{ ...disk, inodesFree: 10 }] }, 'disk', /99 % of its inodes/],
  ];

  it.each(cases)('%s: fails at hour 7, in one sentence', (_, change, limit, sentence) => {
    const samples = minutes(0, 8 * hour, (minute) => (minute === at ? change : {}));
    const verdict = judge(samples);
    expect(verdict.state).toBe('failed');
    expect(verdict.decidedAt).toBe(begin + 7 * 3600);
    expect(verdict.failure).toMatchObject({ limit, at: begin + 7 * 3600 });
    expect(verdict.failure?.sentence).toMatch(sentence);
    expect(verdict.failure?.evidence).not.toEqual([]);
    const failed = verdict.aspects.filter((aspect) => aspect.verdict === 'fail');
    expect(failed.map((aspect) => aspect.limit)).toEqual([limit]);
  });

  it('is tolerated up to the limit, and not in a row', () => {
    const failing = (...which: number[]) =>
      judge(
        minutes(0, 24 * hour, (minute) =>
          which.includes(minute) ? { journal: { ...journal, rateLimited: 1 } } : {},
        ),
        { failureLimit: 3 },
      );
    const tolerated = failing(100, 200, 300);
    expect(tolerated.state).toBe('proven');
    expect(tolerated.sentence).toContain('(3 failing minutes)');
    expect(tolerated.aspects.find(({ limit }) => limit === 'rate-limits')?.verdict).toBe('warn');
    expect(failing(100, 200, 300, 400).decidedAt).toBe(begin + 400 * 60);
    expect(failing(100, 101, 102).decidedAt).toBe(begin + 102 * 60);
  });

  it('is none when Celeriac restarts the worker, and a remark when somebody else does', () => {
    const samples = minutes(0, hour, (at) =>
      at > 30 ? { unit: { ...unit, invocation: 'b' } } : {},
    );
    const ours = judge(samples, { transactions: [begin + 29 * 60] });
    expect([ours.failure, ours.notes]).toEqual([null, []]);
    const foreign = judge(samples, { transactions: [begin - 7200] });
    expect(foreign.failure).toBeNull();
    expect(foreign.notes).toEqual([expect.stringContaining('by neither systemd nor Celeriac')]);
  });

  const inState =
    (active: string, which: (minute: number) => boolean, more: Partial<Sample> = {}) =>
    (minute: number): Partial<Sample> =>
      which(minute)
        ? { unit: { ...unit, active, sub: active, result: 'success' }, worker: null, ...more }
        : {};
  const failureOf = (...args: Parameters<typeof inState>) =>
    judge(minutes(0, 3 * hour, inState(...args))).failure;

  it('is none while somebody stops or starts it, unless that lasts', () => {
    for (const active of ['deactivating', 'activating', 'inactive']) {
      expect(failureOf(active, (at) => at === 30 || at === 31)).toBeNull();
      expect(failureOf(active, (at) => at % 10 < 2)).toBeNull();
    }
    expect(failureOf('activating', (at) => at >= 30)?.at).toBe(begin + 32 * 60);
    expect(failureOf('inactive', (at) => at >= 30)?.at).toBe(begin + 32 * 60);
    // A warm stop waits for tasks.
    expect(failureOf('deactivating', (at) => at >= 30 && at < 80)).toBeNull();
    expect(failureOf('deactivating', (at) => at >= 30)?.at).toBe(begin + 89 * 60);
    expect(failureOf('failed', (at) => at === 30)?.at).toBe(begin + 30 * 60);
  });

  it('is none by what a run of Celeriac does, unless that lasts', () => {
    const busy = (at: number) => at >= 30 && at < 40;
    const run = { changing: true };
    for (const active of ['deactivating', 'activating', 'inactive', 'failed']) {
      expect(failureOf(active, busy, run)).toBeNull();
    }
    const left = minutes(0, hour, (at) => ({
      ...inState('failed', (each) => each >= 30)(at),
      ...(busy(at) && run),
    }));
    expect(judge(left).failure?.at).toBe(begin + 41 * 60);
    // A release that did not start, and was undone: its restarts, kills and errors.
    const other = { ...unit, invocation: 'b', restarts: 3 };
    const full = { ...memory, current: bytes(1024 * MiB), anon: bytes(1024 * MiB) };
    const undone = minutes(0, hour, (at) => {
      if (at === 30) {
        const events_ = { ...events, oomKill: 2 };
        return { ...run, unit: other, events: events_, memory: full };
      }
      if (at < 31) return {};
      const logged = at === 31 ? { journal: { ...journal, errors: 50, rateLimited: 9 } } : {};
      return { unit: { ...unit, invocation: 'c' }, ...logged };
    });
    expect(judge(undone).failure).toBeNull();
    // Between two samples.
    const brief = undone.filter((_, minute) => minute !== 30);
    expect(judge(brief, { transactions: [begin + 29.5 * 60] }).failure).toBeNull();
    // What runs on was not started by that run.
    const killed = minutes(0, hour, (at) =>
      at >= 30 ? { ...run, events: { ...events, oomKill: 1 } } : {},
    );
    expect(judge(killed).failure?.limit).toBe('oom');
  });

  it('is none while the host comes up, unless the unit failed', () => {
    const up = (active: string, restarts: number, lasts = 4) =>
      judge([
        ...minutes(0, 60),
        ...minutes(62, 120, (at) => ({
          boot: 'boot-2',
          uptime: seconds(5 + (at - 62) * 60),
          unit: {
            ...unit,
            invocation: 'b1',
            restarts: Math.min(at - 61, restarts),
            active: at - 62 < lasts ? active : 'active',
          },
        })),
      ]).failure;
    for (const active of ['inactive', 'activating', 'active']) expect(up(active, 3)).toBeNull();
    expect(up('active', 9)?.limit).toBe('restarts');
    expect(up('failed', 0)?.limit).toBe('unit');
    expect(up('inactive', 0, 20)?.limit).toBe('unit');
  });

  it('is none by restarts before the first sample after a boot', () => {
    const late = (from: number, restarts: number) =>
      minutes(from, 120, (at) => ({
        boot: 'boot-2',
        uptime: seconds(600 + (at - 90) * 60),
        unit: { ...unit, invocation: 'b1', restarts: at < 100 ? 2 : restarts },
      }));
    const judged = (restarts: number) => judge([...minutes(0, 60), ...late(90, restarts)]).failure;
    expect(judged(2)).toBeNull();
    expect(judged(3)?.at).toBe(begin + 100 * 60);
  });

  it('is none by a disk that is large, or was full before', () => {
    const size = bytes(2_000_000 * MiB);
    const large = { ...disk, size, free: bytes(80_000 * MiB) };
    const full = { ...disk, free: bytes(800 * MiB) };
    const spent = { ...disk, inodesFree: 10 };
    const judged = (...[before, after]: readonly [typeof disk, typeof disk]) =>
      judge(minutes(0, hour, (at) => ({ disk: [at < 30 ? before : after] }))).failure?.limit;
    expect(judged(disk, large)).toBeUndefined();
    expect(judged(full, full)).toBeUndefined();
    expect(judged(spent, spent)).toBeUndefined();
    expect(judged(disk, full)).toBe('disk');
    expect(judged(full, { ...full, inodesFree: 10 })).toBe('disk');
  });

  it('is none by the cache of files, which also stands at MemoryMax', () => {
    const cached = (anon: typeof memory.anon) =>
      judge(minutes(0, hour, () => ({ memory: { ...memory, current: bytes(1024 * MiB), anon } })));
    expect(cached(bytes(300 * MiB)).failure).toBeNull();
    const unknown = cached(null);
    expect(unknown.failure).toBeNull();
    const blind = unknown.aspects.filter(({ verdict }) => verdict === 'unknown');
    expect(blind.map(({ limit }) => limit)).toEqual(['memory', 'leak']);
  });

  it('is also one after a start by hand, whose count begins at 0', () => {
    const restarts = (at: number) => (at > 30 ? { restarts: 1, invocation: 'b' } : { restarts: 5 });
    const samples = minutes(0, hour, (at) => ({ unit: { ...unit, ...restarts(at) } }));
    expect(judge(samples).failure?.limit).toBe('restarts');
  });

  it('is found in the first minute, by the last sample before', () => {
    const samples = minutes(-5, 10, (at) => (at > 0 ? { events: { ...events, oomKill: 1 } } : {}));
    expect(judge(samples.filter(({ at }) => at !== begin)).failure?.limit).toBe('oom');
    const known = minutes(-5, 10, () => ({ events: { ...events, oomKill: 1 } }));
    expect(judge(known).failure).toBeNull();
  });

  it('is not one by errors in the journal if no limit was given', () => {
    const noisy = minutes(0, hour, () => ({ journal: { ...journal, errors: 50 } }));
    expect(judge(noisy, { errorRateMax: null }).failure).toBeNull();
  });

  it('counts what was killed since a restart, too', () => {
    const change = { unit: { ...unit, invocation: 'b' }, events: { ...events, oomKill: 1 } };
    const samples = minutes(0, hour, (at) =>
      at > 30 ? change : { events: { ...events, oomKill: 1 } },
    );
    const verdict = judge(samples, { failureLimit: 9, transactions: [begin + 1800] });
    expect(verdict.faults.map(({ limit }) => limit)).toEqual(['oom']);
  });
});

describe('over many minutes', () => {
  it('a restart a minute is one finding', () => {
    const samples = minutes(0, hour, (at) => ({
      unit: { ...unit, restarts: at, invocation: `a${at}` },
    }));
    const verdict = judge(samples, { failureLimit: 6, consecutive: 0 });
    expect(verdict.failure?.sentence).toBe(
      'The worker keeps restarting: in 7 of the last 10 minutes.',
    );
  });

  it('a queue that grows while no task runs fails; one that is worked on does not', () => {
    const queue = (active: number, length: (minute: number) => number) =>
      minutes(0, hour, (at) => ({
        worker: { queues: { celery: 3, batch: length(at) }, active, processed: 5 },
      }));
    const stuck = judge(queue(0, (minute) => minute));
    expect(stuck.failure?.sentence).toBe(
      'The queues grew from 3 to 13 messages in 10 min while the worker ran no task.',
    );
    expect(judge(queue(1, (minute) => minute)).failure).toBeNull();
    expect(judge(queue(0, (minute) => minute % 3)).failure).toBeNull();
    expect(judge(queue(0, () => 70)).failure).toBeNull();
    // What came in since the worker last took some.
    expect(judge(queue(0, (minute) => (minute === 30 ? 6 : 0))).failure).toBeNull();
  });

  it('a queue that a worker empties between two looks does not fail, nor one that is not known', () => {
    const burst = (processed: (minute: number) => number | null, queues = true) =>
      minutes(0, hour, (at) => ({
        worker: {
          queues: queues ? { celery: at === 30 ? 40 : 0 } : null,
          active: 0,
          processed: processed(at),
        },
      }));
    expect(judge(burst(() => 5)).failure?.limit).toBe('queues');
    expect(judge(burst((at) => at * 5)).failure).toBeNull();
    for (const verdict of [judge(burst(() => null)), judge(burst(() => 5, false))]) {
      expect(verdict.failure).toBeNull();
      expect(verdict.aspects.find(({ limit }) => limit === 'queues')?.verdict).toBe('unknown');
    }
  });

  const climbing = (perHour: number) => (minute: number) => ({
    // A load that comes and goes, on top of the climb.
    memory: {
      ...memory,
      anon: bytes((200 + (perHour * minute) / 60 + (minute % 20) * 5) * MiB),
    },
  });

  it('a leak says what it would reach, and when', () => {
    const verdict = judge(minutes(0, 20 * hour, climbing(20)));
    expect(verdict.failure?.limit).toBe('leak');
    expect(verdict.failure?.sentence).toMatch(
      /climbs by 19.7 MiB an hour, from 225 MiB to \d+ MiB: it would reach MemoryHigh \(800 MiB\) at 2026-01-/,
    );
    expect(verdict.decidedAt).toBeGreaterThan(begin + 6 * 3600);
  });

  it('is not a leak: warming up, a load that varies, a restart, a climb too slow to matter', () => {
    const warm = (minute: number) => ({
      memory: { ...memory, anon: bytes(Math.min(350, 150 + minute * 2) * MiB) },
    });
    const daily = (minute: number) => ({
      memory: { ...memory, anon: bytes((300 + 150 * Math.sin(minute / 115)) * MiB) },
    });
    const cache = (minute: number) => ({
      memory: { ...memory, current: bytes(Math.min(1024, 250 + minute / 2) * MiB) },
    });
    for (const change of [warm, daily, cache, climbing(0.2)]) {
      expect(judge(minutes(0, 24 * hour, change)).failure).toBeNull();
    }
    const recycled = (minute: number) => ({
      ...climbing(30)(minute % 240),
      unit: { ...unit, invocation: `a${Math.floor(minute / 240)}` },
    });
    const restarts = [0, 1, 2, 3, 4, 5, 6].map((each) => begin + each * 240 * 60 - 30);
    const verdict = judge(minutes(0, 24 * hour, recycled), { transactions: restarts });
    expect(verdict.state).toBe('proven');
  });

  it('lines that journald dropped are noted', () => {
    const verdict = judge(minutes(0, 5, () => ({ journal: { ...journal, dropped: 2 } })));
    expect(verdict.notes).toEqual(['journald dropped 12 lines: errors and 429s are lower bounds.']);
  });

  it('minutes of the journal that were not read to the end are not known', () => {
    const flood = (errors: number) =>
      judge(minutes(0, 5, () => ({ journal: { ...journal, errors, unread: true } })));
    const verdict = flood(3);
    expect(verdict.notes).toEqual([
      'The journal had more lines than are read in 6 minutes: errors and 429s are lower bounds.',
    ]);
    const unknown = verdict.aspects.filter((aspect) => aspect.verdict === 'unknown');
    expect(unknown.map(({ limit }) => limit)).toEqual(['rate-limits', 'errors']);
    // A lower bound beyond the limit is known.
    expect(flood(6).failure?.limit).toBe('errors');
  });

  it('429s are a remark unless a number of them is allowed', () => {
    const limited = minutes(0, 5, () => ({ journal: { ...journal, rateLimited: 2 } }));
    const verdict = judge(limited, { rateLimitMax: null });
    expect(verdict.failure).toBeNull();
    expect(verdict.notes).toEqual([
      '12 responses with HTTP 429; no number fails the release, because `rate-limit-max` is not set.',
    ]);
  });

  it('what was logged during a gap is not of one minute', () => {
    const after = (rateLimited: number) => [
      ...minutes(0, 60),
      ...minutes(120, 130, (at) => (at === 120 ? { journal: { ...journal, rateLimited } } : {})),
    ];
    expect(judge(after(40), { rateLimitMax: 5 }).failure).toBeNull();
    expect(judge(after(301), { rateLimitMax: 5 }).failure?.sentence).toBe(
      '301 responses with HTTP 429 in 1 h of the journal; at most 5 a minute are allowed.',
    );
  });
});

describe('whenever it is called', () => {
  /** Hours of a worker's life: healthy, off, failing, rebooted, with a clock that is set. */
  const life = fc
    .array(
      fc.record({
        length: fc.integer({ min: 1, max: 90 }),
        gap: fc.integer({ min: -30, max: 60 }),
        boot: fc.boolean(),
        rateLimited: fc.integer({ min: 0, max: 12 }),
        known: fc.integer({ min: 0, max: 9 }),
      }),
      { minLength: 1, maxLength: 12 },
    )
    .map((parts) => {
      const samples: Sample[] = [];
      let minute = 0;
      let running = 0;
      for (const [index, part] of parts.entries()) {
        const about: Partial<Sample> = {
          boot: part.boot ? `boot-${index}` : 'boot-1',
          ...(part.known === 0 && { unit: null }),
        };
        for (let each = 0; each < part.length; each += 1) {
          const limited = part.rateLimited === 12 && each === 3 ? 1 : 0;
          samples.push(
            sampleAt(minute, {
              ...about,
              uptime: seconds(1000 + running * 60),
              journal: { ...journal, rateLimited: limited },
            }),
          );
          minute += 1;
          running += 1;
        }
        minute += part.gap;
        // A clock that is set back stops nothing.
        running += Math.max(0, part.gap);
      }
      return samples;
    });

  it('the verdict at the end is the same', () => {
    fc.assert(
      fc.property(life, fc.array(fc.double({ min: 0, max: 1, noNaN: true })), (samples, calls) => {
        const wanted = { wanted: seconds(3 * 3600), failureLimit: 1 };
        const end = judge(samples, wanted);
        // What a ledger would hold: the first verdict that decides stays.
        const seen = calls
          .map((share) => samples.slice(0, Math.ceil(share * samples.length)))
          .map((known) => judge(known, { ...wanted, now: (known.at(-1)?.at ?? begin) + 40 }))
          .filter(({ state }) => state !== 'unproven');
        for (const verdict of seen) {
          expect([verdict.state, verdict.decidedAt, verdict.failure]).toEqual([
            end.state,
            end.decidedAt,
            end.failure,
          ]);
        }
        const late = judge(samples, { ...wanted, now: (samples.at(-1)?.at ?? begin) + 86_400 });
        expect([late.state, late.decidedAt]).toEqual([end.state, end.decidedAt]);
      }),
    );
  });

  it('covered time and gaps add up to the time that passed', () => {
    fc.assert(
      fc.property(life, (samples) => {
        const verdict = judge(samples, { wanted: seconds(1e9), failureLimit: 1e9, consecutive: 0 });
        const spans = samples.map((sample, index) => {
          const before = samples[index - 1];
          if (before === undefined) return 0;
          const isSameBoot = before.boot === sample.boot;
          return isSameBoot ? sample.uptime - before.uptime : Math.max(0, sample.at - before.at);
        });
        const passed = spans.reduce((sum, span) => sum + span, 0);
        expect(verdict.coveredSeconds + verdict.gapSeconds).toBe(passed);
        const strip = verdict.hours.map((each) => each.coveredSeconds + each.gapSeconds);
        expect(strip.reduce((sum, span) => sum + span, 0)).toBe(passed);
      }),
    );
  });
});
