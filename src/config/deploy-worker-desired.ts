import type { SoakThresholds } from '../model/soak.ts';
import type { Bytes, Seconds } from '../model/units.ts';
import type { CleanUpDesired } from './cleanup-desired.ts';
import type { Companion } from './companion-inputs.ts';
import type { ReleaseDesired } from './release-desired.ts';

/**
 * A memory limit; `null`: none. `keep`: the unit's own, and if it has none at all, one that is
 * calculated from the host.
 */
export type MemoryWish = Bytes | null | 'keep';

/** The worker that the host should run. */
export interface DeployWorkerDesired {
  /** With its suffix: `celery-worker.service`. */
  readonly unit: string;
  /** The user that owns the app's files; absent or `null`: the user of the unit. */
  readonly appUser?: string | null;
  /** Whether to edit the unit file or to add a drop-in. */
  readonly unitMode: 'rewrite' | 'drop-in';
  /** `off`: the settings of the unit stay. */
  readonly hardening: 'off' | 'standard';
  /** Absolute paths that a hardened worker may write to besides its working directory. */
  readonly readWritePaths: readonly string[];
  /** Child processes; `null`: as in `ExecStart=`. */
  readonly concurrency: number | null;
  /** `--max-memory-per-child`; `null`: as in `ExecStart=`. */
  readonly maxMemoryPerChildBytes: Bytes | null;
  /** `null`: as in `ExecStart=`. */
  readonly maxTasksPerChild: number | null;
  /** `null`: as in `ExecStart=`. */
  readonly prefetchMultiplier: number | null;
  /** Ids of rules whose faults are accepted. */
  readonly acceptedRules: readonly string[];
  /** `null`: as in `ExecStart=`. */
  readonly queues: readonly string[] | null;
  readonly memoryMaxBytes: MemoryWish;
  /** Only set if swap is active. */
  readonly memoryHighBytes: MemoryWish;
  /** A stop waits this long plus one minute. */
  readonly longestTaskSeconds: Seconds;
  /** How long to wait for running tasks, and what to do then: see `DrainWorker`. */
  readonly drain: {
    readonly timeoutSeconds: Seconds;
    readonly policy: 'proceed' | 'abort' | 'wait';
  };
  /** The clean-up of jobs that the stopped worker abandoned; `null`: they are left. */
  readonly orphanedJobs: CleanUpDesired | null;
  /** Return messages of dead workers to their queues; otherwise they are only reported. */
  readonly restoreUnacked: boolean;
  /** `null`: no watchdog. */
  readonly watchdogSec: Seconds | null;
  readonly restartSec: Seconds;
  readonly startLimitBurst: number;
  /** Must exceed burst × restartSec, or the limit is never reached. */
  readonly startLimitIntervalSec: Seconds;
  /** How long the worker may take to become ready. */
  readonly startTimeoutSeconds: Seconds;
  /** How long the worker must then run without a restart. */
  readonly minHealthySeconds: Seconds;
  /** Absolute path of the folder of the support module. */
  readonly supportDirectory: string;
  readonly supportModule: { readonly name: string; readonly text: string };
  /** Time between TERM and KILL for stray workers. */
  readonly strays: { readonly graceSeconds: Seconds };
  readonly restartPolicy: 'when-needed' | 'always';
  /** The value of `-A`; only used if `ExecStart=` does not show it. */
  readonly app: string | null;
  readonly beforeStart?: {
    /** Without a shell. */
    readonly commands: readonly (readonly string[])[];
    /** For each. */
    readonly timeoutSeconds: Seconds;
  };
  /** How long the host samples a new release until that is proven; absent or 0: not at all. */
  readonly soakSeconds?: Seconds;
  /** What the host remembers for whoever judges it; absent: nothing. */
  readonly soakLimits?: SoakThresholds;
  /** Other units of the app, in the order of their restarts. */
  readonly companions?: readonly Companion[];
  /** Absent or `null`: the code and its dependencies are not touched. */
  readonly release?: ReleaseDesired | null;
}
