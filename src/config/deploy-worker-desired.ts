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
