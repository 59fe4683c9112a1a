import { describe, expect, it } from 'vitest';
import type { LedgerRelease } from '../../../../src/model/facts/ledger.ts';
import type { ReleaseState } from '../../../../src/model/soak.ts';
import { bytes, epochSeconds, MiB } from '../../../../src/model/units.ts';
import { compareFigures, lastProven } from '../../../../src/verify/soak/compare.ts';
import { figuresOf } from '../../../../src/verify/soak/figures.ts';
import { events, journal, memory, minutes, unit } from './samples.ts';

describe('the figures of a soak', () => {
  it('are those of its samples', () => {
    const samples = minutes(0, 120, (minute) => ({
      memory: { ...memory, current: bytes((minute === 60 ? 900 : 300) * MiB) },
      journal: { ...journal, rateLimited: minute % 10 === 0 ? 1 : 0, errors: 2 },
      worker: { queues: { a: minute === 7 ? 40 : 0, b: 1 }, active: 1, processed: minute * 3 },
    }));
    expect(figuresOf(samples)).toEqual({
      hours: 2,
      memoryMedianBytes: 300 * MiB,
      memoryPeakBytes: 900 * MiB,
      mainMedianBytes: 60 * MiB,
      childrenMedianBytes: 240 * MiB,
      swapPeakBytes: 0,
      oomKills: 0,
      restarts: 0,
      rateLimitedPerHour: 6,
      errorsPerHour: 120,
      tracebacksPerHour: 0,
      tasksPerHour: 180,
      longestQueue: 41,
      latencySeconds: null,
      errorSignatures: null,
      oldestJobSeconds: null,
    });
  });

  it('count across restarts, whose counters begin at 0', () => {
    const samples = minutes(0, 60, (minute) => {
      const run = minute > 30 ? { invocation: 'b', restarts: 1 } : {};
      const since = minute > 30 ? minute - 31 : minute;
      return {
        unit: { ...unit, ...run },
        events: { ...events, oomKill: minute > 40 ? 2 : minute > 10 && minute <= 30 ? 1 : 0 },
        worker: { queues: {}, active: 0, processed: since * 2 },
      };
    });
    expect(figuresOf(samples)).toMatchObject({ restarts: 1, oomKills: 3, tasksPerHour: 118 });
  });

  it('are unknown where no sample knows them', () => {
    const blind = minutes(0, 60, () => ({
      unit: null,
      memory: null,
      events: null,
      worker: null,
      journal: null,
    }));
    const { hours, ...others } = figuresOf(blind);
    expect(hours).toBe(1);
    expect(new Set(Object.values(others))).toEqual(new Set([null]));
    expect(figuresOf([]).memoryPeakBytes).toBeNull();
    expect(figuresOf([], { latencySeconds: 0.4 }).latencySeconds).toBe(0.4);
  });

  it('leave the time of a gap out', () => {
    const one = (from: number, to: number) =>
      minutes(from, to, () => ({ journal: { ...journal, rateLimited: 1 } }));
    const figures = figuresOf([...one(0, 60), ...one(600, 660)]);
    expect(figures).toMatchObject({ hours: 2, rateLimitedPerHour: 60 });
  });
});

describe('beside the last proven release', () => {
  it('less memory and fewer 429s are better, more restarts worse, one per cent is the same', () => {
    const before = {
      memoryMedianBytes: 1500 * MiB,
      rateLimitedPerHour: 100,
      restarts: 0,
      memoryPeakBytes: 1000,
      tasksPerHour: 10,
    };
    const now = {
      memoryMedianBytes: 300 * MiB,
      rateLimitedPerHour: 10,
      restarts: 1,
      memoryPeakBytes: 1009,
      tasksPerHour: 99,
      oomKills: 0,
    };
    const rows = compareFigures(before, now);
    expect(rows.map(({ title, trend }) => [title, trend])).toEqual([
      ['Memory of the worker, median', 'better'],
      ['Memory of the worker, maximum', 'same'],
      ['Processes killed, out of memory', null],
      ['Restarts by systemd', 'worse'],
      ['HTTP 429', 'better'],
      ['Tasks', null],
    ]);
    expect(rows[0]).toMatchObject({ unit: 'bytes', before: 1500 * MiB, now: 300 * MiB });
    expect(rows[2]).toMatchObject({ before: null, now: 0 });
  });

  it.each([
    [24, 3, null],
    [24, 23, 'worse'],
    [24, 26, 'worse'],
    [24, 27, null],
    [null, 24, null],
  ] as const)('in kinds of error only over equal times: %s and %s hours', (old, now, trend) => {
    const rows = compareFigures(
      { hours: old, errorSignatures: 1 },
      { hours: now, errorSignatures: 4 },
    );
    expect(rows).toMatchObject([{ before: 1, now: 4, trend }]);
  });

  it.each([
    [0.004, 0.09, 'same'],
    [0.2, 0.11, 'same'],
    [0.2, 0.31, 'worse'],
    [0.8, 0.4, 'better'],
  ] as const)('in a latency beyond its noise: %s and %s s', (before, now, trend) => {
    const rows = compareFigures({ latencySeconds: before }, { latencySeconds: now });
    expect(rows).toMatchObject([{ trend }]);
  });

  it('which is the newest that stands, and not this one', () => {
    const states: readonly ReleaseState[] = [
      'before',
      'proven',
      'proven',
      'undone',
      'failed',
      'unproven',
    ];
    const releases = states.map(
      (state, release): LedgerRelease => ({
        release,
        transaction: `t${release}`,
        at: epochSeconds(release),
        holder: '',
        actor: '',
        sha: '',
        verdict: 'confirmed',
        why: '',
        state,
        since: epochSeconds(release),
        by: '',
        soakWhy: '',
        figures: null,
        gateFigures: null,
        kept: true,
      }),
    );
    expect(lastProven(releases, 5)?.release).toBe(2);
    expect(lastProven(releases, 2)?.release).toBe(1);
    expect(lastProven(releases, 1)).toBeNull();
  });
});
