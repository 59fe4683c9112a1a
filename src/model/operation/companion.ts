import type { Seconds } from '../units.ts';
import type { Described } from './described.ts';

/** How a unit beside the worker gets new code: `reload` runs its `ExecReload=`. */
export type Renewal = 'restart' | 'reload';

/**
 * Records the state of a unit that runs the app's code beside the worker. Undone after the code is
 * restored: a unit that was restarted or reloaded meanwhile is once more.
 */
export interface GuardCompanion extends Described {
  readonly op: 'guard-companion';
  readonly unit: string;
  readonly how: Renewal;
  /** It runs beat: its old process must have ended before the next one starts. */
  readonly onlyOnce: boolean;
  /** How long it must run without a restart. */
  readonly minHealthySeconds: Seconds;
  readonly timeoutSeconds: Seconds;
}

/** Has such a unit load the new code, watches it, and asks its URL. One that rests is not started. */
export interface RestartCompanion extends Described {
  readonly op: 'restart-companion';
  readonly unit: string;
  readonly how: Renewal;
  readonly onlyOnce: boolean;
  readonly minHealthySeconds: Seconds;
  /** For the stop, and for the start. */
  readonly timeoutSeconds: Seconds;
  /** How long until the URL must answer. */
  readonly urlTimeoutSeconds: Seconds;
  /** It must answer with a status from 200 to 399; `null`: it is not asked. */
  readonly url: string | null;
}
