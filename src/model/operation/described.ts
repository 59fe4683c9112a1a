import type { Seconds } from '../units.ts';

export interface Described {
  /** What it does, for people: one line, no full stop. */
  readonly title: string;
  /** Why it is needed, one line: the actual and the desired state. */
  readonly why: string;
  /** A unified diff, if it changes text. */
  readonly diff?: string;
}

/** An operation whose undo may have to stop or start the unit. */
export interface WithTimedUndo {
  /** The unit's time-outs for that, and some seconds for systemd to report the result. */
  readonly undoTimeoutSeconds: Seconds;
}
