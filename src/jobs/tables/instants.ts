import type { SqlValue } from '../../model/operation/jobs.ts';
import { type EpochSeconds, epochSeconds } from '../../model/units.ts';

/** A value of a timestamp column as an instant; only instants can be compared. */
export type InstantReading =
  | { readonly kind: 'instant'; readonly at: EpochSeconds; readonly form: InstantForm }
  | { readonly kind: 'absent' }
  | { readonly kind: 'unreadable' };

/** The format of the timestamps in a column, so that new ones look the same. */
export type InstantForm =
  | {
      readonly kind: 'text';
      readonly separator: ' ' | 'T';
      /** Digits of the fractional seconds. */
      readonly fraction: number;
      /** As written: ``, `Z`, `+00:00`, `+0200`… */
      readonly zone: string;
    }
  | {
      readonly kind: 'epoch';
      readonly unit: 's' | 'ms';
      readonly fraction: number;
      /** Stored as text, not as a number. */
      readonly text: boolean;
    };

/** The format of Python's `datetime.isoformat()`; for a column without timestamps. */
export const defaultForm: InstantForm = { kind: 'text', separator: 'T', fraction: 6, zone: '' };

const calendar =
  /^(\d{4})-(\d{2})-(\d{2})([T ])(\d{2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?( ?(?:Z|z|UTC)|[+-]\d{2}(?::?\d{2})?)?$/;

/**
 * Parses a timestamp: a date and time with a space or `T`, with or without a fraction, `Z` or an
 * offset (without one it is local time in that zone), or seconds or milliseconds since 1970, as a
 * number or as text.
 *
 * Numbers outside 2001–2286 are unreadable: 20260118 is a date, not an instant in August 1970.
 *
 * @param timeZone IANA name of the zone of timestamps that have none
 */
export function readInstant(value: unknown, timeZone = 'UTC'): InstantReading {
  if (value === null || (typeof value === 'string' && value.trim() === '')) {
    return { kind: 'absent' };
  }
  if (typeof value === 'number') return readEpoch(value, String(value), false);
  if (typeof value !== 'string') return { kind: 'unreadable' };
  const text = value.trim();
  if (/^\d{10,13}(?:\.\d+)?$/.test(text)) return readEpoch(Number(text), text, true);
  return readCalendar(text, timeZone);
}

function readEpoch(value: number, written: string, text: boolean): InstantReading {
  const fraction = written.split('.')[1]?.length ?? 0;
  const form = (unit: 's' | 'ms'): InstantForm => ({ kind: 'epoch', unit, fraction, text });
  if (value >= 1e9 && value < 1e10) {
    return { kind: 'instant', at: epochSeconds(value), form: form('s') };
  }
  if (value >= 1e12 && value < 1e13) {
    return { kind: 'instant', at: epochSeconds(value / 1000), form: form('ms') };
  }
  return { kind: 'unreadable' };
}

function readCalendar(text: string, timeZone: string): InstantReading {
  const match = calendar.exec(text);
  if (!match) return { kind: 'unreadable' };
  const part = (index: number): number => Number(match[index] ?? '0');
  const [year, month, day] = [part(1), part(2), part(3)];
  const [hour, minute, second] = [part(5), part(6), part(7)];
  const zone = match[9] ?? '';
  const offset = readOffset(zone);
  const date = new Date(Date.UTC(year, month - 1, day));
  const exists = date.getUTCMonth() === month - 1 && date.getUTCDate() === day && year >= 1970;
  if (!exists || hour > 23 || minute > 59 || second > 59 || offset === null) {
    return { kind: 'unreadable' };
  }
  const digits = match[8] ?? '';
  const local = Date.UTC(year, month - 1, day, hour, minute, second) / 1000;
  const whole = zone === '' ? fromLocal(local, timeZone) : local - offset;
  return {
    kind: 'instant',
    at: epochSeconds(whole + Number(`0.${digits || '0'}`)),
    form: {
      kind: 'text',
      separator: match[4] === 'T' ? 'T' : ' ',
      fraction: digits.length,
      zone,
    },
  };
}

/**
 * The instant of a local time. For an hour that occurs twice, the later one is used: that makes a row
 * younger, never older. For a time that was skipped, the offset before the gap is used.
 */
function fromLocal(local: number, timeZone: string): number {
  if (timeZone === 'UTC') return local;
  // No zone changes its offset twice within two days.
  const [before, after] = [zoneOffset(local - day, timeZone), zoneOffset(local + day, timeZone)];
  const found = [local - before, local - after].filter(
    (at) => at + zoneOffset(at, timeZone) === local,
  );
  return found.length === 0 ? local - before : Math.max(...found);
}

const day = 86_400;

/** Offset of a zone from UTC at an instant, in seconds. */
function zoneOffset(at: number, timeZone: string): number {
  if (timeZone === 'UTC') return 0;
  const whole = Math.floor(at);
  const part: Partial<Record<Intl.DateTimeFormatPartTypes, number>> = {};
  for (const { type, value } of clockOf(timeZone).formatToParts(whole * 1000)) {
    part[type] = Number(value);
  }
  const { year = 0, month = 1, day: date = 1, hour = 0, minute = 0, second = 0 } = part;
  return Date.UTC(year, month - 1, date, hour, minute, second) / 1000 - whole;
}

const clocks = new Map<string, Intl.DateTimeFormat>();

/** What a clock in the zone shows. Making one takes long. */
function clockOf(timeZone: string): Intl.DateTimeFormat {
  const known = clocks.get(timeZone);
  if (known !== undefined) return known;
  const [numeric, calendar, numberingSystem] = ['numeric', 'iso8601', 'latn'] as const;
  const clock = new Intl.DateTimeFormat('en', {
    timeZone,
    calendar,
    numberingSystem,
    hourCycle: 'h23',
    year: numeric,
    month: numeric,
    day: numeric,
    hour: numeric,
    minute: numeric,
    second: numeric,
  });
  clocks.set(timeZone, clock);
  return clock;
}

/** Seconds east of UTC; `null` when there is no such offset. */
function readOffset(zone: string): number | null {
  const match = /^([+-])(\d{2}):?(\d{2})?$/.exec(zone);
  if (!match) return 0;
  const [hours, minutes] = [Number(match[2]), Number(match[3] ?? '0')];
  if (hours > 14 || minutes > 59) return null;
  return (match[1] === '-' ? -1 : 1) * (hours * 3600 + minutes * 60);
}

/**
 * Formats an instant; the fraction is truncated, never rounded up.
 *
 * @param timeZone IANA name of the zone of timestamps that have none
 */
export function writeInstant(at: EpochSeconds, form: InstantForm, timeZone = 'UTC'): SqlValue {
  const isLocal = form.kind === 'text' && form.zone === '';
  return spell(at, spellingOf(form, isLocal ? zoneOffset(at, timeZone) : 0));
}

/** How a column represents a time. */
type TimeSpelling =
  | {
      readonly kind: 'text';
      readonly separator: ' ' | 'T';
      /** Digits after the decimal point of the second; truncated, never rounded up. */
      readonly fraction: number;
      /** How far its clock is ahead of UTC. */
      readonly offsetSeconds: number;
      /** Suffix of the time, e.g. `+00:00`. */
      readonly zone: string;
    }
  | {
      readonly kind: 'epoch';
      /** 1 for seconds, 1000 for milliseconds. */
      readonly perSecond: number;
      /** Digits after the decimal point. */
      readonly fraction: number;
      /** Stored as text, not as a number. */
      readonly text: boolean;
    };

/** @param localOffsetSeconds offset from UTC of timestamps without a zone */
function spellingOf(form: InstantForm, localOffsetSeconds: number): TimeSpelling {
  if (form.kind === 'text') {
    const { kind, separator, fraction, zone } = form;
    const offsetSeconds = zone === '' ? localOffsetSeconds : (readOffset(zone) ?? 0);
    return { kind, separator, fraction, zone, offsetSeconds };
  }
  const { kind, unit, text } = form;
  const fraction = Math.min(form.fraction, unit === 'ms' ? 3 : 6);
  return { kind, perSecond: unit === 'ms' ? 1000 : 1, fraction, text };
}

function spell(at: EpochSeconds, spelling: TimeSpelling): SqlValue {
  const { fraction } = spelling;
  if (spelling.kind === 'epoch') {
    const micros = Math.round(at * 1e6);
    const parts = Math.floor(micros / (10 ** (6 - fraction) / spelling.perSecond));
    const value = parts / 10 ** fraction;
    return spelling.text ? value.toFixed(fraction) : value;
  }
  const shifted = at + spelling.offsetSeconds;
  const whole = Math.floor(shifted);
  const text = new Date(whole * 1000).toISOString().slice(0, 19).replace('T', spelling.separator);
  const digits = fraction === 0 ? '' : `.${cutFraction(shifted - whole, fraction)}`;
  return `${text}${digits}${spelling.zone}`;
}

/** A double stores a present-day instant to about a quarter of a microsecond. */
function cutFraction(fraction: number, digits: number): string {
  const micros = Math.min(999_999, Math.round(fraction * 1e6));
  return String(micros).padStart(6, '0').padEnd(9, '0').slice(0, digits);
}

/** The most common format in a column; `null` when it contains no timestamps. */
export function commonForm(values: Iterable<unknown>): InstantForm | null {
  const seen = new Map<string, { form: InstantForm; count: number }>();
  for (const value of values) {
    const reading = readInstant(value);
    if (reading.kind !== 'instant') continue;
    // isoformat() omits a fraction of zero, so its length alone does not make another format.
    const key = JSON.stringify({ ...reading.form, fraction: reading.form.fraction > 0 });
    const entry = seen.get(key) ?? { form: reading.form, count: 0 };
    const longest = reading.form.fraction > entry.form.fraction ? reading.form : entry.form;
    seen.set(key, { form: longest, count: entry.count + 1 });
  }
  let best: { form: InstantForm; count: number } | null = null;
  for (const entry of seen.values()) if (!best || entry.count > best.count) best = entry;
  return best?.form ?? null;
}
