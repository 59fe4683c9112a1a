import type { Bytes, EpochSeconds } from '../units.ts';
import type { FileFact } from './host.ts';

export interface UnitFact {
  /** With its suffix: `celery-worker.service`. */
  readonly name: string;
  readonly loadState: string;
  readonly activeState: string;
  readonly subState: string;
  /** `enabled`, `disabled`, `static`, `masked`… or empty. */
  readonly unitFileState: string;
  readonly needDaemonReload: boolean;
  /** Path of the unit file; empty if there is none. */
  readonly fragmentPath: string;
  readonly fragment: FileFact;
  readonly dropIns: readonly { readonly path: string; readonly text: string }[];
  /** Every property, as `systemctl show` prints it. */
  readonly properties: Readonly<Record<string, string>>;
  /** The absolute paths in the Exec lines. */
  readonly programs: Readonly<Record<string, ProgramFact>>;
  /** The user of its processes, a name; `null`: there is no such user. */
  readonly user?: string | null;
  /** HOME and PATH as its processes find them; absent: not set, or unknown. */
  readonly variables?: { readonly HOME?: string; readonly PATH?: string };
  /** Where its processes start, with symbolic links resolved; `null`: unknown. */
  readonly workingDirectory: string | null;
  readonly mainPid: number | null;
  /** Every process in the unit's cgroup. */
  readonly processes: readonly ProcessFact[];
  readonly memory: {
    readonly currentBytes: Bytes;
    readonly peakBytes: Bytes | null;
    /** Of `currentBytes`, what is no cache of files; absent or `null`: not known. */
    readonly anonBytes?: Bytes | null;
    /** `memory.events`: low, high, max, oom, oom_kill. */
    readonly events: Readonly<Record<string, number>>;
  } | null;
  /** When it last became active; `null`: never. */
  readonly activeSince: EpochSeconds | null;
  /** From `systemd-analyze security`, 0 to 10, less is safer; `null`: not requested or unknown. */
  readonly exposure?: number | null;
}

export interface ProgramFact {
  readonly exists: boolean;
  /** Its first line, if that begins with `#!`. */
  readonly shebang: string | null;
  /** Its first KiB, if it begins with `#!`: some shell scripts run themselves with Python. */
  readonly script?: string | null;
}

export interface ProcessFact {
  readonly pid: number;
  readonly parentPid: number;
  /** `/proc/PID/stat` state letter: R, S, D, T, Z… */
  readonly state: string;
  readonly user: string;
  readonly residentBytes: Bytes;
  readonly argv: readonly string[];
  /** Field 22 of `/proc/PID/stat`: together with the pid it identifies a process until reboot. */
  readonly startTicks: number;
}

export interface CodeFact {
  readonly newest: { readonly path: string; readonly modified: EpochSeconds } | null;
  /** There were too many files to check them all. */
  readonly truncated: boolean;
  /**
   * Whether the worker that runs was started with these sources, by their content; `null`: Celeriac
   * did not start it. No clock has a part in it.
   */
  readonly startedWithThese: boolean | null;
}

export interface LimitsFact {
  /** Whether the kernel can limit the memory of services: it has the memory controller. */
  readonly controller: boolean;
  /** Whether something is mounted over `/proc/meminfo`, as lxcfs does in a container. */
  readonly ownMeminfo: boolean;
  /** The limit of the cgroup in which all of the system runs, as in a container; `null`: none. */
  readonly system: {
    readonly limitBytes: Bytes;
    /** Without the cache of files. */
    readonly usedBytes: Bytes;
  } | null;
  /** Memory of the unit's processes, pages that they share counted once; `null`: unknown. */
  readonly unitBytes: Bytes | null;
  /** Loaded slices with a `MemoryMax=`. */
  readonly slices: readonly { readonly name: string; readonly memoryMaxBytes: Bytes }[];
  /** Other loaded services with a `MemoryMax=`. */
  readonly services: readonly LimitedService[];
}

export interface LimitedService {
  readonly name: string;
  readonly activeState: string;
  readonly slice: string;
  readonly memoryMaxBytes: Bytes;
  readonly currentBytes: Bytes | null;
}
