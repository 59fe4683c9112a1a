import type { Seconds } from '../units.ts';

export interface CommandQuery {
  readonly unit: string;
  /** Runs in place of `python` and `python3`. */
  readonly interpreter: readonly string[];
  readonly argv: readonly string[];
  readonly timeoutSeconds: Seconds;
}

export type CommandFact = {
  /** The last 8 KiB of what it printed. */
  readonly output: string;
  readonly seconds: Seconds;
} & (
  | {
      readonly kind: 'ended';
      /** Negative: the signal that ended it. */
      readonly code: number;
    }
  | { readonly kind: 'timed-out' }
  | {
      readonly kind: 'failed';
      /** Why it could not be run, or was ended. */
      readonly problem: string;
    }
);

export interface HttpProbe {
  readonly url: string;
  readonly timeoutSeconds: Seconds;
}

export type HttpAnswer = { readonly url: string; readonly seconds: Seconds } & (
  | {
      readonly kind: 'answered';
      readonly status: number;
      /** The first 2 KiB. */
      readonly body: string;
    }
  | {
      readonly kind: 'failed';
      /** Why there is no answer. */
      readonly error: string;
    }
);
