import type { Finding, Operation } from '../../model/operation.ts';

/** The operations of a deploy that concern code, by the time at which they may run. */
export interface ReleasePlan {
  /** While the old worker serves: of what it reads, only its virtual environment is changed. */
  readonly prepare: readonly Operation[];
  /** Right before the old worker is stopped, because it may import modules late. */
  readonly inPlace: readonly Operation[];
  /** While nothing runs. */
  readonly swap: readonly Operation[];
  /** After the proof. */
  readonly finish: readonly Operation[];
  /** Which code to import on trial, and when. */
  readonly trial: Trial;
  /** Why the worker must be restarted; empty if the code does not change. */
  readonly reasons: readonly string[];
  readonly satisfied: readonly string[];
  readonly findings: readonly Finding[];
}

export type Trial =
  /** The new code in the checkout: after it was checked out. */
  | { readonly when: 'in-place' }
  /** The code in place, or a folder that is not current yet: in the new unit, with its dependencies. */
  | {
      readonly when: 'prepared';
      readonly instead: { readonly from: string; readonly to: string } | null;
    };

export interface ReleaseContext {
  readonly unit: string;
  /** The app's user. */
  readonly user: string;
  /** As `systemctl show` prints it, or the directory to which the worker changes. */
  readonly workingDirectory: string;
  /** The worker's Python with its leading arguments. */
  readonly interpreter: readonly string[];
}

export const untouched: ReleasePlan = {
  prepare: [],
  inPlace: [],
  swap: [],
  finish: [],
  trial: { when: 'prepared', instead: null },
  reasons: [],
  satisfied: [],
  findings: [],
};
