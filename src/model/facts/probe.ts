import type { Seconds } from '../units.ts';

export interface CommandQuery {
  readonly unit: string;
  /** Runs in place of `python` and `python3`. */
  readonly interpreter: readonly string[];
  readonly argv: readonly string[];
  readonly timeoutSeconds: Seconds;
}

export interface CommandFact {
  /** Negative: the signal that ended it; `null`: it did not end in time, or could not be run. */
  readonly code: number | null;
  /** The last 8 KiB of what it printed. */
  readonly output: string;
  readonly seconds: Seconds;
  /** Why it could not be run, or was ended. */
  readonly problem: string | null;
}

export interface HttpProbe {
  readonly url: string;
  readonly timeoutSeconds: Seconds;
}

export interface HttpAnswer {
  readonly url: string;
  readonly status: number | null;
  /** The first 2 KiB. */
  readonly body: string;
  readonly error: string | null;
  readonly seconds: Seconds;
}
