import { alignRows, median } from '../table.ts';

/** A program, and how long each of its runs took. */
export interface Measured {
  readonly name: string;
  readonly seconds: readonly number[];
  /** Processor time on this side, of the program and all that it starts. */
  readonly processor: readonly number[];
}

/** A table of medians, each also as a multiple of that of `own`. */
export function compare(measured: readonly Measured[], own: string): readonly string[] {
  const reference = median(measured.find(({ name }) => name === own)?.seconds ?? []);
  const rows = measured.map(({ name, seconds, processor }) => [
    name,
    formatSeconds(median(seconds)),
    `${formatSeconds(Math.min(...seconds))} to ${formatSeconds(Math.max(...seconds))}`,
    (median(seconds) / reference).toFixed(2),
    formatSeconds(median(processor)),
  ]);
  return alignRows([['', 'median', 'range', `× ${own}`, 'processor'], ...rows]);
}

const formatSeconds = (seconds: number): string => `${seconds.toFixed(2)} s`;
