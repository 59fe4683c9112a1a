import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Sample } from '../../../src/model/sample.ts';
import { epochSeconds } from '../../../src/model/units.ts';
import { coarsen, marksOfSamples, timelineOf } from '../../../src/report/timeline.ts';
import { begin, daySamples, sampleAt } from '../../lib/sample-report.ts';

const memoryOf = (minute: number, current: number): Sample => {
  const sample = sampleAt(minute);
  if (sample.memory === null) throw new Error('a sample without memory');
  return { ...sample, memory: { ...sample.memory, current: current as never } };
};

describe('timeline', () => {
  test('without samples there is none', () => {
    expect(timelineOf([])).toBeNull();
  });

  test('one sample is one bucket', () => {
    const sample = sampleAt(0);
    const timeline = timelineOf([sample]);
    expect(timeline).toMatchObject({ from: begin, to: begin, bucketSeconds: 60, samples: 1 });
    expect(timeline?.buckets).toHaveLength(1);
    const { memory } = sample;
    expect(timeline?.buckets[0]).toMatchObject({
      at: begin,
      samples: 1,
      memory: { min: memory?.current, max: memory?.current },
      high: memory?.high,
      max: memory?.max,
      errors: 0,
    });
  });

  test('a peak of one minute is as high in its bucket as it was', () => {
    const samples = Array.from({ length: 600 }, (_, minute) =>
      memoryOf(minute, minute === 311 ? 9000 : 100 + (minute % 3)),
    );
    const timeline = timelineOf(samples, 60);
    expect(timeline?.bucketSeconds).toBe(600);
    const bucket = timeline?.buckets.find(({ memory }) => memory?.max === 9000);
    expect(bucket?.at).toBe(begin + 18_600);
    expect(bucket?.memory?.min).toBe(100);
  });

  test('a gap has no buckets', () => {
    const samples = [0, 1, 2, 10, 11].map((minute) => sampleAt(minute));
    expect(timelineOf(samples)?.buckets.map(({ at }) => (at - begin) / 60)).toEqual([
      0, 1, 2, 10, 11,
    ]);
  });

  test('a clock that was set back does not make the time run backwards', () => {
    const samples = [5, 6, 2, 3].map((minute) => sampleAt(minute));
    const timeline = timelineOf(samples);
    expect(timeline?.from).toBe(begin + 120);
    expect(timeline?.buckets.map(({ at }) => (at - begin) / 60)).toEqual([2, 3, 5, 6]);
  });

  test('what is not known stays unknown, and is no zero', () => {
    const blind = sampleAt(0, { memory: null, worker: null, journal: null, events: null });
    expect(timelineOf([blind])?.buckets[0]).toEqual({
      at: begin,
      samples: 1,
      memory: null,
      main: null,
      children: null,
      swap: null,
      high: null,
      max: null,
      queues: null,
      active: null,
      errors: null,
      rateLimited: null,
      oomKills: null,
    });
  });

  test('of many queues, the longest are kept', () => {
    const queues = Object.fromEntries(Array.from({ length: 40 }, (_, n) => [`q${n}`, n]));
    const sample = sampleAt(0, { worker: { queues, active: 0, processed: null } });
    const names = Object.keys(timelineOf([sample])?.buckets[0]?.queues ?? {});
    expect(names).toHaveLength(12);
    expect(names[0]).toBe('q39');
  });

  test('a queue by the name of a property of every object is a queue', () => {
    const queues = { constructor: 3, toString: 1 };
    const sample = sampleAt(0, { worker: { queues, active: 0, processed: null } });
    expect(timelineOf([sample])?.buckets[0]?.queues).toEqual({
      constructor: { min: 3, max: 3 },
      toString: { min: 1, max: 1 },
    });
  });

  test('sums and extremes do not depend on the length of the buckets', () => {
    const sample = fc.record({
      minute: fc.integer({ min: 0, max: 20_000 }),
      errors: fc.integer({ min: 0, max: 50 }),
      current: fc.integer({ min: 0, max: 2 ** 33 }),
    });
    fc.assert(
      fc.property(fc.array(sample, { minLength: 1, maxLength: 80 }), (drawn) => {
        const samples = drawn.map(({ minute, errors, current }) => ({
          ...memoryOf(minute, current),
          journal: { errors, tracebacks: 0, rateLimited: 0, dropped: 0, unread: false },
        }));
        const fine = timelineOf(samples);
        if (fine === null) throw new Error('no timeline');
        for (const timeline of [fine, coarsen(fine, 7)]) {
          const { buckets } = timeline;
          expect(buckets.reduce((sum, each) => sum + (each.errors ?? 0), 0)).toBe(
            drawn.reduce((sum, each) => sum + each.errors, 0),
          );
          expect(buckets.reduce((sum, each) => sum + each.samples, 0)).toBe(drawn.length);
          expect(Math.max(...buckets.map(({ memory }) => memory?.max ?? 0))).toBe(
            Math.max(...drawn.map(({ current }) => current)),
          );
          const times = buckets.map(({ at }) => at);
          expect(times.toSorted((one, other) => one - other)).toEqual(times);
        }
        expect(coarsen(fine, 7).buckets.length).toBeLessThanOrEqual(7);
      }),
    );
  });
});

describe('marks', () => {
  const texts = (samples: readonly Sample[]) =>
    marksOfSamples(samples).map(({ at, kind }) => [(at - begin) / 60, kind]);

  test('a worker that goes on has none', () => {
    expect(texts([0, 1, 2].map((minute) => sampleAt(minute)))).toEqual([]);
  });

  test('restart, reboot, and a kill are told apart', () => {
    const unit = sampleAt(0).unit;
    if (unit === null) throw new Error('a sample without unit');
    const killed = { high: 0, max: 0, oom: 2, oomKill: 2 };
    const later = { unit: { ...unit, invocation: 'i1' } };
    const samples = [
      sampleAt(0),
      sampleAt(1, { events: killed }),
      sampleAt(2, { events: killed }),
      sampleAt(3, later),
      sampleAt(4, { ...later, boot: 'b1' }),
    ];
    expect(texts(samples)).toEqual([
      [1, 'oom'],
      [3, 'restart'],
      [4, 'reboot'],
    ]);
    expect(marksOfSamples(samples)[0]?.text).toBe('2 processes killed: out of memory');
  });

  test('kills before the first sample are not of its time', () => {
    const killed = { high: 0, max: 0, oom: 2, oomKill: 2 };
    expect(texts([sampleAt(0, { events: killed }), sampleAt(1, { events: killed })])).toEqual([]);
  });

  test('a day with a kill has one mark, however long its counter stays', () => {
    expect(texts(daySamples())).toEqual([[900, 'oom']]);
  });

  test('without the unit, nothing is said of a restart', () => {
    expect(texts([sampleAt(0), sampleAt(1, { unit: null }), sampleAt(2)])).toEqual([]);
  });
});

test('kills before the first sample are not counted in its bucket', () => {
  const killed = { high: 0, max: 0, oom: 2, oomKill: 2 };
  const timeline = timelineOf([sampleAt(0, { events: killed }), sampleAt(1, { events: killed })]);
  expect(timeline?.buckets.map(({ oomKills }) => oomKills)).toEqual([null, 0]);
});

test('a restart while the unit could not be read is still seen', () => {
  const unit = sampleAt(0).unit;
  if (unit === null) throw new Error('a sample without unit');
  const samples = [
    sampleAt(0),
    sampleAt(1, { unit: null }),
    sampleAt(2, { at: epochSeconds(begin + 120), unit: { ...unit, invocation: 'i9' } }),
  ];
  expect(marksOfSamples(samples).map(({ kind }) => kind)).toEqual(['restart']);
});

test('kills are counted once when a sample does not know the unit, or the counter', () => {
  const killed = { high: 0, max: 0, oom: 2, oomKill: 2 };
  const samples = [
    sampleAt(0),
    sampleAt(1, { events: killed }),
    sampleAt(2, { events: null }),
    sampleAt(3, { events: killed, unit: null }),
    sampleAt(4, { events: killed }),
  ];
  const kills = timelineOf(samples)?.buckets.map(({ oomKills }) => oomKills);
  expect(kills).toEqual([null, 2, null, 0, 0]);
});
