import { Temporal } from '@js-temporal/polyfill';
import { describe, expect, test } from 'vitest';
import {
  commonForm,
  defaultForm,
  type InstantForm,
  readInstant,
  writeInstant,
} from '../../../../src/jobs/tables/instants.ts';
import { epochSeconds } from '../../../../src/model/units.ts';

const noon = Date.UTC(2026, 0, 18, 12) / 1000;

describe('readInstant', () => {
  test.each([
    ['2026-01-18 12:00:00', noon],
    ['2026-01-18T12:00:00', noon],
    ['2026-01-18T12:00:00.5', noon + 0.5],
    ['2026-01-18 12:00:00,250', noon + 0.25],
    ['2026-01-18T12:00:00Z', noon],
    ['2026-01-18T12:00:00.123456+00:00', noon + 0.123456],
    ['2026-01-18T14:00:00+02:00', noon],
    ['2026-01-18 06:30:00-0530', noon],
    ['2026-01-18 12:00', noon],
    ['  2026-01-18 12:00:00 UTC ', noon],
    [noon, noon],
    [noon + 0.75, noon + 0.75],
    [noon * 1000 + 250, noon + 0.25],
    [String(noon), noon],
    [`${noon}.125`, noon + 0.125],
    [String(noon * 1000), noon],
  ])('%s is an instant', (value, expected) => {
    const reading = readInstant(value);
    expect(reading.kind).toBe('instant');
    expect(reading.kind === 'instant' && reading.at).toBeCloseTo(expected, 6);
  });

  test.each([null, '', '   '])('%s is absent', (value) => {
    expect(readInstant(value).kind).toBe('absent');
  });

  test.each([
    'yesterday',
    '2026-01-18', // a day is no instant
    '18.01.2026 12:00:00',
    '2026-02-30 12:00:00',
    '2026-13-01 12:00:00',
    '2026-01-18 25:00:00',
    '2026-01-18 12:61:00',
    '2026-01-18T12:00:00+25:00',
    '2026-01-18T12:00:00 Europe/Berlin',
    '1969-12-31 23:59:59',
    20_260_118, // a date as a number would be an instant in August 1970
    20_260_118_120_000,
    0,
    -1,
    2_461_059.5, // a Julian day
    Number.NaN,
    { opaque: 'blob' },
  ])('%s is unreadable, never guessed', (value) => {
    expect(readInstant(value).kind).toBe('unreadable');
  });
});

/** Small, seeded: a failing case can be run again. */
function* randoms(seed: number): Generator<number> {
  let state = seed;
  while (true) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    yield state / 2 ** 32;
  }
}

const forms: readonly InstantForm[] = [
  { kind: 'text', separator: ' ', fraction: 0, zone: '' },
  { kind: 'text', separator: 'T', fraction: 6, zone: '' },
  { kind: 'text', separator: 'T', fraction: 3, zone: 'Z' },
  { kind: 'text', separator: 'T', fraction: 6, zone: '+05:30' },
  { kind: 'text', separator: ' ', fraction: 6, zone: '-0800' },
  { kind: 'epoch', unit: 's', fraction: 0, text: false },
  { kind: 'epoch', unit: 's', fraction: 6, text: false },
  { kind: 'epoch', unit: 's', fraction: 3, text: true },
  { kind: 'epoch', unit: 'ms', fraction: 0, text: false },
  { kind: 'epoch', unit: 'ms', fraction: 0, text: true },
];

describe('properties', () => {
  test('instants keep the order of the times in any mix of formats', () => {
    const random = randoms(20_260_118);
    const next = (): number => random.next().value as number;
    for (let round = 0; round < 200; round += 1) {
      // Whole seconds apart: forms without a fraction cut it.
      const times = [...new Set(Array.from({ length: 30 }, () => Math.floor(next() * 9e8) + 1e9))];
      const written = times.map((time) => {
        const form = forms[Math.floor(next() * forms.length)] ?? defaultForm;
        return { time, value: writeInstant(epochSeconds(time + next() * 0.999), form) };
      });
      const ordered = written
        .toSorted((a, b) => instantOf(a.value) - instantOf(b.value))
        .map(({ time }) => time);
      expect(ordered).toEqual(times.toSorted((a, b) => a - b));
    }
  });

  test.each(forms)('a time written as $kind $fraction $zone $unit reads back', (form) => {
    const random = randoms(7);
    for (let round = 0; round < 500; round += 1) {
      const at = epochSeconds(1e9 + (random.next().value as number) * 9e8);
      const value = writeInstant(at, form);
      const reading = readInstant(value);
      expect(reading.kind === 'instant' && Math.abs(reading.at - at) < 1.000001).toBe(true);
      expect(reading.kind === 'instant' && writeInstant(reading.at, form)).toBe(value);
    }
  });
});

function instantOf(value: unknown): number {
  const reading = readInstant(value);
  if (reading.kind !== 'instant') throw new Error(`no instant: ${String(value)}`);
  return reading.at;
}

describe('commonForm', () => {
  test('is the format of most values', () => {
    const values = [
      '2026-01-18 11:02:03',
      '2026-01-18T11:02:03.123456',
      '2026-01-18T11:02:04',
      null,
    ];
    expect(commonForm(['2026-01-18T11:02:05.000001', ...values])).toEqual(defaultForm);
  });

  test('is null if no value is an instant', () => {
    expect(commonForm([null, '', 'soon'])).toBeNull();
  });

  test.each([
    ['2026-01-18 11:02:03', '2026-01-18 15:00:00'],
    ['2026-01-18T11:02:03.123456', '2026-01-18T15:00:00.000000'],
    ['2026-01-18T11:02:03.123Z', '2026-01-18T15:00:00.000Z'],
    ['2026-01-18T11:02:03+01:00', '2026-01-18T16:00:00+01:00'],
    [1_768_734_123, 1_768_748_400],
    [1_768_734_123_456, 1_768_748_400_000],
    ['1768734123', '1768748400'],
  ])('a column of %s gets %s', (example, expected) => {
    const form = commonForm([example]);
    const at = epochSeconds(Date.UTC(2026, 0, 18, 15) / 1000);
    expect(form && writeInstant(at, form)).toBe(expected);
  });
});

describe('times without a zone', () => {
  const berlin = 'Europe/Berlin';

  test.each([
    ['2026-01-18 13:00:00', '2026-01-18T12:00:00Z'],
    ['2026-07-18 14:00:00', '2026-07-18T12:00:00Z'],
    // One that names a zone is where it says.
    ['2026-01-18 13:00:00+02:00', '2026-01-18T11:00:00Z'],
    // The hour that comes twice: the later, so that nothing looks older than it is.
    ['2026-10-25 02:30:00', '2026-10-25T01:30:00Z'],
    // The hour that never comes.
    ['2026-03-29 02:30:00', '2026-03-29T01:30:00Z'],
  ])('%s in Berlin is %s', (text, expected) => {
    const reading = readInstant(text, berlin);
    expect(reading.kind === 'instant' && new Date(reading.at * 1000).toISOString()).toBe(
      new Date(expected).toISOString(),
    );
  });

  test.each([
    // Around the gap and the overlap of Berlin, to the second.
    [berlin, '2026-03-29 01:59:59', '2026-03-29T00:59:59Z'],
    [berlin, '2026-03-29 02:00:00', '2026-03-29T01:00:00Z'],
    [berlin, '2026-03-29 02:59:59.5', '2026-03-29T01:59:59.5Z'],
    [berlin, '2026-03-29 03:00:00', '2026-03-29T01:00:00Z'],
    [berlin, '2026-10-25 01:59:59', '2026-10-24T23:59:59Z'],
    [berlin, '2026-10-25 02:00:00', '2026-10-25T01:00:00Z'],
    [berlin, '2026-10-25 02:59:59.5', '2026-10-25T01:59:59.5Z'],
    [berlin, '2026-10-25 03:00:00', '2026-10-25T02:00:00Z'],
    // West of UTC.
    ['America/New_York', '2026-03-08 02:30:00', '2026-03-08T07:30:00Z'],
    ['America/New_York', '2026-11-01 01:30:00', '2026-11-01T06:30:00Z'],
    // Half an hour, in the southern summer.
    ['Australia/Lord_Howe', '2026-04-05 01:45:00', '2026-04-04T15:15:00Z'],
    ['Australia/Lord_Howe', '2026-10-04 02:15:00', '2026-10-03T15:45:00Z'],
    // A gap at midnight, and no such thing in a zone that keeps one time.
    ['Africa/Cairo', '2026-04-24 00:30:00', '2026-04-23T22:30:00Z'],
    ['Asia/Kathmandu', '2026-03-29 02:30:00', '2026-03-28T20:45:00Z'],
    // A whole day that never was: the clock from before stood ten hours behind UTC.
    ['Pacific/Apia', '2011-12-30 12:00:00', '2011-12-30T22:00:00Z'],
    // A clock that was set back by half an hour for good.
    ['Asia/Pyongyang', '2015-08-14 23:45:00', '2015-08-14T15:15:00Z'],
  ])('%s: %s is %s', (zone, text, expected) => {
    const reading = readInstant(text, zone);
    expect(reading.kind === 'instant' && new Date(reading.at * 1000).toISOString()).toBe(
      new Date(expected).toISOString(),
    );
  });

  test('are read as the latest possible instant', () => {
    // Minutes around the changes of a year, in zones that differ in when and by how much.
    for (const zone of [berlin, 'America/New_York', 'Australia/Lord_Howe', 'America/St_Johns']) {
      for (let at = Date.UTC(2026, 0, 1) / 1000; at < Date.UTC(2027, 0, 1) / 1000; at += 977 * 60) {
        const text = String(writeInstant(epochSeconds(at), defaultForm, zone));
        const reading = readInstant(text, zone);
        const read = reading.kind === 'instant' ? reading.at : Number.NaN;
        expect(read).toBeGreaterThanOrEqual(at);
        expect(writeInstant(epochSeconds(read), defaultForm, zone)).toBe(text);
      }
    }
  });

  test('are written so that they read back', () => {
    for (const at of [noon, noon + 182 * 86_400 + 0.25, noon + 71 * 86_400]) {
      const text = writeInstant(epochSeconds(at), defaultForm, berlin);
      const reading = readInstant(text, berlin);
      expect(reading.kind === 'instant' && reading.at).toBeCloseTo(at, 5);
    }
    expect(writeInstant(epochSeconds(noon), defaultForm, 'Asia/Kolkata')).toBe(
      '2026-01-18T17:30:00.000000',
    );
  });
});

describe('a local time', () => {
  const zones = ['Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe', 'Asia/Kathmandu'];
  const odd = ['Africa/Casablanca', 'Pacific/Apia', 'America/Caracas'];
  const halfHour = 1800;

  /** Instants shortly after which the zone has another offset. */
  function turns(timeZone: string): readonly number[] {
    let at = Temporal.Instant.from('2006-06-01T00Z').toZonedDateTimeISO(timeZone);
    const found: number[] = [];
    for (;;) {
      const next = at.getTimeZoneTransition('next');
      if (next === null || next.year > 2027) return found;
      found.push(next.epochMilliseconds / 1000);
      at = next;
    }
  }

  test.each([...zones, ...odd])('of %s is read and written as by Temporal', (timeZone) => {
    const moments = [noon, ...turns(timeZone)].flatMap((turn) =>
      Array.from({ length: 9 }, (_, index) => turn + (index - 4) * halfHour),
    );
    for (const at of moments) {
      const zoned = Temporal.Instant.fromEpochMilliseconds(at * 1000).toZonedDateTimeISO(timeZone);
      const shown = zoned.toPlainDateTime();
      const written = writeInstant(epochSeconds(at), { ...defaultForm, fraction: 0 }, timeZone);
      expect(written).toBe(shown.toString());
      // Also times that no clock of the zone shows.
      const local = shown.add({ minutes: 45 });
      const reading = readInstant(local.toString({ smallestUnit: 'second' }), timeZone);
      const expected = local.toZonedDateTime(timeZone, { disambiguation: 'later' });
      expect([timeZone, `${local}`, reading]).toMatchObject([
        timeZone,
        `${local}`,
        { at: expected.epochMilliseconds / 1000 },
      ]);
    }
  });
});
