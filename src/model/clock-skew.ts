import type { Seconds } from './units.ts';

/** The clock of the host, compared with that of the runner. */
export interface ClockSkew {
  /** By how much the host's clock is ahead; negative: behind. */
  readonly ahead: Seconds;
  /** The true value is at most this far from it: half of the time that the answer took. */
  readonly within: Seconds;
}
