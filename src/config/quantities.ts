import { type Bytes, bytes, type Seconds, seconds } from '../model/units.ts';

const sizeUnits: Readonly<Record<string, number>> = {
  '': 1,
  K: 1024,
  M: 1024 ** 2,
  G: 1024 ** 3,
  T: 1024 ** 4,
};

/**
 * Parses a size: an integer with an optional K, M, G or T (base 1024; also `KiB`, `MB`, `g`).
 *
 * @returns `null` when the text is not a size, is zero, or exceeds the safe integer range
 */
export function parseSize(text: string): Bytes | null {
  const match = /^([0-9]+)\s*([KMGT]?)(?:I?B)?$/i.exec(text.trim());
  const digits = match?.[1];
  const factor = sizeUnits[match?.[2]?.toUpperCase() ?? '?'];
  if (digits === undefined || factor === undefined) {
    return null;
  }
  const value = Number(digits) * factor;
  return value > 0 && Number.isSafeInteger(value) ? bytes(value) : null;
}

/** Timers of Node.js hold at most 2^31 - 1 ms, which is a little more. */
export const longestTimer = seconds(24 * 86_400);
export const longestAge = seconds(3650 * 86_400);

const timeUnits: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 };

/**
 * Parses a duration: `90s`, `30m`, `2h`, `1d`, or a sum (`1h30m`). A number without a unit is
 * rejected as ambiguous.
 *
 * @returns `null` when the text is not a duration, or is zero
 */
export function parseDuration(text: string): Seconds | null {
  const trimmed = text.trim().toLowerCase();
  if (!/^(?:[0-9]+\s*[smhd]\s*)+$/.test(trimmed)) {
    return null;
  }
  let total = 0;
  for (const [, digits, unit] of trimmed.matchAll(/([0-9]+)\s*([smhd])/g)) {
    total += Number(digits) * (timeUnits[unit ?? ''] ?? Number.NaN);
  }
  return total > 0 && Number.isSafeInteger(total) ? seconds(total) : null;
}

/** The shortest text that {@link parseSize} parses as this size: `2G`, `1536M`. */
export function printSize(size: Bytes): string {
  for (const unit of ['T', 'G', 'M', 'K'] as const) {
    const factor = sizeUnits[unit] ?? 1;
    if (size >= factor && size % factor === 0) {
      return `${size / factor}${unit}`;
    }
  }
  return String(size);
}
