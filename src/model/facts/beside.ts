import type { EpochSeconds } from '../units.ts';
import type { ProcessFact, UnitFact } from './unit.ts';

export interface CompanionsQuery {
  /** The worker's. */
  readonly unit: string;
  readonly units: readonly string[];
  /** Where code folders are uploaded to; `null`: nowhere. */
  readonly folder: string | null;
}

export interface CompanionsFact {
  /** In the order of the query. */
  readonly named: readonly NamedCompanion[];
  /** Other services with a process in the checkout of the app, in its folder, or a program there. */
  readonly beside: readonly ServiceBeside[];
}

export interface NamedCompanion {
  readonly unit: UnitFact;
  /** As in `CodeFact`. */
  readonly startedWithThese: boolean | null;
}

export interface ServiceBeside {
  readonly unit: string;
  /** One of its processes there. */
  readonly pid: number;
  readonly argv: readonly string[];
}

/** A process with the command line of a Celery worker, in any cgroup. */
export interface WorkerProcess extends ProcessFact {
  /** Its cgroup below the root, e.g. `/user.slice/user-0.slice/session-3.scope`. */
  readonly cgroup: string;
  readonly workingDirectory: string | null;
  readonly startedAt: EpochSeconds;
}

/** A service, but no template. */
export interface ServiceFact {
  readonly unit: string;
  readonly activeState: string;
  readonly unitFileState: string;
  /** Of its `ExecStart`, without its quotes. */
  readonly argv: readonly string[];
}

/** How a process was started, whatever started it. */
export interface StartFact {
  readonly pid: number;
  /** The names of its variables: their values may be secret. */
  readonly variables: readonly string[];
  /** Those that lead to its program. */
  readonly open: {
    readonly HOME?: string;
    readonly PATH?: string;
    readonly VIRTUAL_ENV?: string;
  };
  /** The path of its program, as it was called; `null`: not known. */
  readonly program: string | null;
  /** Its group, by name; `null`: it has no name. */
  readonly group: string | null;
  /** What started it, nearest first; `name` is that of the kernel, of at most 15 letters. */
  readonly above: readonly { readonly pid: number; readonly name: string }[];
}

export interface BeatsFact {
  /** Loaded services whose command is a beat, or a worker with `-B`. */
  readonly units: readonly BeatUnit[];
  readonly processes: readonly BeatProcess[];
}

export interface BeatUnit {
  readonly unit: string;
  readonly activeState: string;
  readonly unitFileState: string;
  readonly user: string;
  readonly workingDirectory: string;
  readonly argv: readonly string[];
}

export interface BeatProcess {
  readonly pid: number;
  /** `null`: it runs in a session or the like. */
  readonly unit: string | null;
  readonly user: string;
  readonly workingDirectory: string | null;
  readonly argv: readonly string[];
  readonly startTicks: number;
}
