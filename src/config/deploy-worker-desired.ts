import type { Bytes, Seconds } from '../model/units.ts';
import type { ReleaseDesired } from './release-desired.ts';

/** The worker that a host is to run. */
export interface DeployWorkerDesired {
  /** With its suffix: `celery-worker.service`. */
  readonly unit: string;
  /** The unit's own file edited, or a drop-in beside it. */
  readonly unitMode: 'rewrite' | 'drop-in';
  /** `off`: as the unit says. */
  readonly hardening: 'off' | 'standard';
  /** Absolute paths that a hardened worker may write to, beside its working directory. */
  readonly readWritePaths: readonly string[];
  /** Children of the pool; `null`: as `ExecStart=` says. */
  readonly concurrency: number | null;
  /** `null`: as `ExecStart=` says. */
  readonly queues: readonly string[] | null;
  /** `null`: no limit. */
  readonly memoryMaxBytes: Bytes | null;
  /** `null`: no limit. Only set where swap is on. */
  readonly memoryHighBytes: Bytes | null;
  /** A stop waits that long, and a minute more. */
  readonly longestTaskSeconds: Seconds;
  /** How long the tasks of the worker are waited for, and what then: see `DrainWorker`. */
  readonly drain: {
    readonly timeoutSeconds: Seconds;
    readonly policy: 'proceed' | 'abort' | 'wait';
  };
  /** What becomes of jobs that the stopped worker left "processing". */
  readonly orphanedJobs: {
    readonly action: 'leave' | 'fail' | 'reset';
    /** Path of the SQLite file; `null`: those below the unit's WorkingDirectory. */
    readonly database: string | null;
    readonly keepBackups: number;
    readonly busyTimeoutSeconds: Seconds;
    /** Named in the rows that are failed. */
    readonly runUrl: string | null;
  };
  /** Messages of dead workers go back into their queues; else they are reported. */
  readonly restoreUnacked: boolean;
  /** `null`: no watchdog. */
  readonly watchdogSec: Seconds | null;
  readonly restartSec: Seconds;
  readonly startLimitBurst: number;
  /** More than burst × restartSec, or the limit could never trip. */
  readonly startLimitIntervalSec: Seconds;
  /** How long it may take until the worker is ready. */
  readonly startTimeoutSeconds: Seconds;
  /** How long it must then run without a restart. */
  readonly minHealthySeconds: Seconds;
  /** Absolute path of the folder that holds the support module. */
  readonly supportDirectory: string;
  readonly supportModule: { readonly name: string; readonly text: string };
  /** Between TERM and KILL, for workers that run outside their unit. */
  readonly strays: { readonly graceSeconds: Seconds };
  readonly restartPolicy: 'when-needed' | 'always';
  /** The value of `-A`, only used where it can't be read from `ExecStart=`. */
  readonly app: string | null;
  /** Left out or `null`: the code and its dependencies are not touched. */
  readonly release?: ReleaseDesired | null;
}
