import type { Finding, Operation } from '../../model/operation.ts';

/** The part of a deploy that is about code, sorted by when it may happen. */
export interface ReleasePlan {
  /** While the old worker serves: nothing that it reads is changed but its environment. */
  readonly prepare: readonly Operation[];
  /** Under the old worker, right before it is stopped: it may import late. */
  readonly inPlace: readonly Operation[];
  /** While nothing runs. */
  readonly swap: readonly Operation[];
  /** After the proof. */
  readonly finish: readonly Operation[];
  /** Which code is imported to try it, and so when. */
  readonly trial: Trial;
  /** Why the worker must be restarted; empty when nothing of this changes. */
  readonly reasons: readonly string[];
  readonly satisfied: readonly string[];
  readonly findings: readonly Finding[];
}

export type Trial =
  /** What is there: before anything is changed. */
  | { readonly when: 'first' }
  /** What is checked out: after that. */
  | { readonly when: 'in-place' }
  /** A release that is not current yet, or new dependencies: once they are prepared. */
  | {
      readonly when: 'prepared';
      readonly instead: { readonly from: string; readonly to: string } | null;
    };

export interface ReleaseContext {
  readonly unit: string;
  /** As `systemctl show` prints it, or what the worker changes to. */
  readonly workingDirectory: string;
  /** The worker's Python, with its leading arguments. */
  readonly interpreter: readonly string[];
}

export const untouched: ReleasePlan = {
  prepare: [],
  inPlace: [],
  swap: [],
  finish: [],
  trial: { when: 'first' },
  reasons: [],
  satisfied: [],
  findings: [],
};
