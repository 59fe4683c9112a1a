import { type Bytes, bytes } from '../model/units.ts';

/**
 * Sizes and time spans as systemd parses and prints them: `parse_size()`, `parse_time()` and
 * `format_timespan()`, which are the same from systemd 249 to 257.
 */

/** A value of `MemoryMax=` and similar settings. */
export type SystemdSize =
  | { readonly kind: 'bytes'; readonly bytes: Bytes }
  /** Of the physical memory. */
  | { readonly kind: 'percent'; readonly percent: number }
  | { readonly kind: 'infinity' };

const sizeUnits: readonly (readonly [suffix: string, factor: number])[] = [
  ['E', 1024 ** 6],
  ['P', 1024 ** 5],
  ['T', 1024 ** 4],
  ['G', 1024 ** 3],
  ['M', 1024 ** 2],
  ['K', 1024],
  ['B', 1],
  ['', 1],
];

/**
 * Parses a size (base 1024), e.g. `800M`, `1.5G`, `1G 512M`, `40%`, `infinity`.
 * `null` for values that systemd ignores with a warning, e.g. `1500MB` or `800m`.
 */
export function parseSize(text: string): SystemdSize | null {
  const value = text.trim();
  if (value === 'infinity') return { kind: 'infinity' };
  const share = /^(\d+(?:\.\d{1,2})?)%$/.exec(value);
  if (share) {
    const percent = Number(share[1]);
    return percent > 0 && percent <= 100 ? { kind: 'percent', percent } : null;
  }

  let rest = value;
  let next = 0;
  let total = 0;
  do {
    const number = /^[ \t\r\n]*\+?(\d+)(?:\.(\d*))?[ \t\r\n]*/.exec(rest);
    if (!number) return null;
    rest = rest.slice(number[0].length);
    // Units may only get smaller: `1G 512M`, never `512M 1G`.
    const at = sizeUnits.findIndex(([suffix], index) => index >= next && rest.startsWith(suffix));
    const unit = sizeUnits[at];
    if (!unit) return null;
    total += Number(number[1]) * unit[1] + Math.floor(Number(`0.${number[2] || '0'}`) * unit[1]);
    rest = rest.slice(unit[0].length);
    next = at + 1;
  } while (rest !== '');
  return total >= 2 ** 64 ? null : { kind: 'bytes', bytes: bytes(total) };
}

/** As `systemctl show` prints a memory limit: bytes, or `infinity` for none. */
export function printSizeProperty(size: Bytes | null): string {
  return size === null ? 'infinity' : String(size);
}

const second = 1_000_000;
const minute = 60 * second;
const hour = 60 * minute;
const day = 24 * hour;
const month = 2_629_800 * second;
const year = 31_557_600 * second;

/** Longer names before their prefixes, as systemd tries them. */
const timeUnits: readonly (readonly [name: string, microseconds: number])[] = [
  ['seconds', second],
  ['second', second],
  ['sec', second],
  ['s', second],
  ['minutes', minute],
  ['minute', minute],
  ['min', minute],
  ['months', month],
  ['month', month],
  ['M', month],
  ['msec', 1000],
  ['ms', 1000],
  ['m', minute],
  ['hours', hour],
  ['hour', hour],
  ['hr', hour],
  ['h', hour],
  ['days', day],
  ['day', day],
  ['d', day],
  ['weeks', 7 * day],
  ['week', 7 * day],
  ['w', 7 * day],
  ['years', year],
  ['year', year],
  ['y', year],
  ['usec', 1],
  ['us', 1],
  ['μs', 1],
  ['µs', 1],
];

/**
 * Parses a time span, e.g. `300`, `5min 20s`, `1.5h`, `infinity`; bare numbers are seconds.
 * Returns microseconds, `Infinity` for `infinity`, `null` for values that systemd rejects.
 */
export function parseTimeSpan(text: string): number | null {
  let rest = text.trim();
  if (rest === 'infinity') return Number.POSITIVE_INFINITY;
  if (rest === '') return null;
  let total = 0;
  while (rest !== '') {
    const number = /^(?:\+?\d+(?:\.\d+|(?![\d.]))|\.\d+)/.exec(rest)?.[0];
    if (!number) return null;
    const tail = rest.slice(number.length);
    const named = tail.trimStart();
    const unit = timeUnits.find(([name]) => named.startsWith(name));
    // `12.34.56` is invalid, `12.34 .56` is two numbers.
    if (!unit && tail !== '' && named === tail) return null;
    total += Math.floor(Number(number) * (unit?.[1] ?? second) + 1e-6);
    rest = named.slice(unit?.[0].length ?? 0).trimStart();
  }
  return total;
}

const printedUnits: readonly (readonly [suffix: string, microseconds: number])[] = [
  ['y', year],
  ['month', month],
  ['w', 7 * day],
  ['d', day],
  ['h', hour],
  ['min', minute],
  ['s', second],
  ['ms', 1000],
  ['us', 1],
];

/** As `systemctl show` prints a `…USec` property: `16min`, `1min 30s`, `1.500000s`, `infinity`. */
export function printTimeSpan(microseconds: number): string {
  if (microseconds === Number.POSITIVE_INFINITY) return 'infinity';
  if (microseconds <= 0) return '0';
  const parts: string[] = [];
  let left = Math.floor(microseconds);
  for (const [suffix, unit] of printedUnits) {
    if (left < unit) continue;
    const whole = Math.floor(left / unit);
    const remainder = left % unit;
    if (left < minute && remainder > 0) {
      // Below a minute, systemd prints a decimal fraction with all digits of the unit.
      const digits = String(unit).length - 1;
      parts.push(`${whole}.${String(remainder).padStart(digits, '0')}${suffix}`);
      return parts.join(' ');
    }
    parts.push(`${whole}${suffix}`);
    left = remainder;
  }
  return parts.join(' ');
}

/** Converts seconds to microseconds, the unit of time spans. */
export function microseconds(seconds: number): number {
  return Math.round(seconds * second);
}
