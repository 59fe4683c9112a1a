/** Numbers formatted for people. */

import { KiB, MiB } from './units.ts';

const sizeUnits = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'] as const;

/** `2 GiB`, `800 MiB`, `1.4 GiB`, `512 B`: base 1024, one decimal below 100. */
export function formatBytes(size: number): string {
  let value = size;
  let unit = 0;
  while (round(value) >= 1024 && unit < sizeUnits.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${round(value)} ${sizeUnits[unit]}`;
}

const round = (value: number): number =>
  value < 100 ? Math.round(value * 10) / 10 : Math.round(value);

/** `300 MiB`, and `512 KiB` below one: whole, so that sums of them add up for who reads them. */
export const formatMebibytes = (size: number): string =>
  size < MiB ? `${Math.round(size / KiB)} KiB` : `${Math.round(size / MiB)} MiB`;

const timeUnits = [
  { name: 'd', size: 86_400, next: 3600, nextName: 'h' },
  { name: 'h', size: 3600, next: 60, nextName: 'min' },
  { name: 'min', size: 60, next: 1, nextName: 's' },
] as const;

/** `5 ms`, `1.7 s`, `45 s`, `2 min 5 s`, `16 min`, `3 h 5 min`, `8 d 3 h`; from seconds. */
export function formatDuration(duration: number): string {
  const total = Math.max(0, duration);
  if (total > 0 && total < 0.1) return `${Math.max(1, Math.round(total * 1000))} ms`;
  if (total < 9.95) return `${Math.round(total * 10) / 10} s`;
  const whole = Math.round(total);
  if (whole < 60) return `${whole} s`;
  const unit = timeUnits.find((candidate) => whole >= candidate.size) ?? timeUnits[2];
  const count = Math.floor(whole / unit.size);
  // Seconds no longer matter after ten minutes.
  const rest = unit.name === 'min' && count >= 10 ? 0 : Math.floor((whole % unit.size) / unit.next);
  return rest === 0 ? `${count} ${unit.name}` : `${count} ${unit.name} ${rest} ${unit.nextName}`;
}

/** `1 job`, `3 jobs`, `2 batches` (with the plural given). */
export function formatCount(count: number, singular: string, plural = `${singular}s`): string {
  return `${count} ${count === 1 ? singular : plural}`;
}

/** `2026-01-18 11:02:03 UTC`, from seconds since 1970. */
export function formatInstant(epoch: number): string {
  const date = new Date(epoch * 1000);
  if (Number.isNaN(date.getTime())) return 'an unknown time';
  return `${date.toISOString().slice(0, 19).replace('T', ' ')} UTC`;
}

/** `a, b and c`. */
export function formatList(words: readonly string[]): string {
  if (words.length < 2) return words[0] ?? '';
  return `${words.slice(0, -1).join(', ')} and ${words.at(-1)}`;
}
