import { appRules } from '../celery/app-rules.ts';
import { ConfigError } from '../model/errors.ts';
import type { SoakThresholds } from '../model/soak.ts';
import { type Bytes, type Seconds, seconds } from '../model/units.ts';
import { smallestChildBytes } from '../systemd/rules/per-child.ts';
import { supportModule } from '../systemd/support-module.ts';
import { unitRules } from '../systemd/unit-rules.ts';
import { readAppUser } from './app-user-input.ts';
import { type CleanUpDesired, cleanUpDefaults, readStores } from './cleanup-desired.ts';
import type { Companion } from './companion-inputs.ts';
import type { DeployWorkerValues } from './deploy-worker-inputs.ts';
import { refuseMemoryHigh } from './memory-limits.ts';
import { printSize } from './quantities.ts';
import type { ReleaseDesired } from './release-desired.ts';
import { releaseDesired } from './release-inputs.ts';
import { recordedLimits } from './soak-inputs.ts';
import { parseStores } from './stores-input.ts';
import { supportDirectoryOf } from './support-directory.ts';

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

/**
 * The desired state of deploy-worker. `supportText` is the source of the support module; `runUrl` is
 * recorded in the rows that are changed.
 *
 * @throws ConfigError when inputs contradict each other
 */
export function deployWorkerDesired(
  inputs: DeployWorkerValues,
  supportText: string,
  runUrl: string | null = null,
): DeployWorkerDesired {
  const { queues, watchdog } = inputs;
  const memoryMaxBytes = inputs['memory-max'].limit;
  const memoryHighBytes = inputs['memory-high'].limit;
  refuseStartLimit(inputs);
  refuseMemoryHigh(sizeOf(memoryHighBytes), sizeOf(memoryMaxBytes), '`off`');
  refusePerChild(inputs['max-memory-per-child'].bytes, sizeOf(memoryMaxBytes));
  refuseUnknownRules(inputs['accept-rules']);
  refuseOwnUnit(inputs);
  return {
    unit: inputs.unit,
    appUser: readAppUser(inputs['app-user']),
    unitMode: inputs['unit-mode'],
    hardening: inputs.hardening,
    readWritePaths: inputs['read-write-paths'],
    concurrency: inputs.concurrency.value,
    maxMemoryPerChildBytes: inputs['max-memory-per-child'].bytes,
    maxTasksPerChild: inputs['max-tasks-per-child'].value,
    prefetchMultiplier: inputs['prefetch-multiplier'].value,
    acceptedRules: inputs['accept-rules'],
    queues: queues.length === 0 ? null : queues,
    memoryMaxBytes,
    memoryHighBytes,
    longestTaskSeconds: inputs['longest-task'],
    drain: {
      timeoutSeconds: inputs['drain-timeout'].seconds ?? inputs['longest-task'],
      policy: inputs['drain-policy'],
    },
    orphanedJobs: orphanedJobsDesired(inputs, runUrl),
    restoreUnacked: inputs['restore-unacked'],
    watchdogSec: watchdog === 0 ? null : watchdog,
    restartSec: inputs['restart-delay'],
    startLimitBurst: inputs['start-limit-burst'],
    startLimitIntervalSec: inputs['start-limit-interval'],
    startTimeoutSeconds: inputs['start-timeout'],
    minHealthySeconds: inputs['min-healthy-time'],
    supportDirectory: supportDirectoryOf(supportText),
    supportModule: { name: supportModule, text: supportText },
    strays: { graceSeconds: inputs['stray-timeout'] },
    restartPolicy: inputs.restart,
    app: null,
    beforeStart: {
      commands: inputs['before-start'],
      timeoutSeconds: inputs['before-start-timeout'],
    },
    companions: inputs['also-restart'],
    soakSeconds: seconds(inputs['soak-hours'] * 3600),
    soakLimits: recordedLimits(inputs),
    release: releaseDesired(inputs),
  };
}

const sizeOf = (wish: MemoryWish): Bytes | null => (wish === 'keep' ? null : wish);

function refusePerChild(limit: Bytes | null, max: Bytes | null): void {
  if (limit === null) return;
  const refuse = (problem: string, expected: string): never => {
    const because = ['memory-max'];
    throw new ConfigError('input max-memory-per-child', problem, expected, { because });
  };
  const named = `\`max-memory-per-child\` (${printSize(limit)})`;
  if (limit < smallestChildBytes) {
    refuse(
      `${named} is less than any child of Celery uses, so each child would be replaced after one task`,
      'the size at which a child is replaced, such as 300M',
    );
  }
  if (max !== null && limit >= max) {
    refuse(
      `${named} is not below \`memory-max\` (${printSize(max)}), at which the kernel kills the child in the middle of its task`,
      `less than ${printSize(max)}`,
    );
  }
}

function refuseUnknownRules(ids: readonly string[]): void {
  const known = [...unitRules, ...appRules].map(({ id }) => id);
  const unknown = ids.find((id) => !known.includes(id));
  if (unknown === undefined) return;
  throw new ConfigError(
    'input accept-rules',
    `there is no rule ${unknown}`,
    `ids of rules: ${known.join(', ')}`,
  );
}

/** A stop is proof, so nothing waits for a threshold, or for a second look at the rows. */
function orphanedJobsDesired(
  inputs: DeployWorkerValues,
  runUrl: string | null,
): CleanUpDesired | null {
  const action = inputs['orphaned-jobs'];
  if (action === 'leave' || inputs.database.none) {
    // Read all the same: what is wrong with it is said now, not on the day it is needed.
    parseStores(inputs.stores);
    return null;
  }
  return {
    ...cleanUpDefaults,
    ...readStores(inputs),
    unit: inputs.unit,
    appUser: readAppUser(inputs['app-user']),
    action,
    orphans: false,
    confirmAfterSeconds: seconds(0),
    maxResets: inputs['max-resets'],
    timeZone: inputs.timezone,
    snapshotLimitBytes: inputs['snapshot-limit'],
    keepBackups: inputs['keep-backups'],
    busyTimeoutSeconds: inputs['busy-timeout'],
    dryRun: inputs['dry-run'],
    runUrl,
  };
}

function refuseStartLimit(inputs: DeployWorkerValues): void {
  const burst = inputs['start-limit-burst'];
  const delay = inputs['restart-delay'];
  const interval = inputs['start-limit-interval'];
  const longest = burst * delay;
  if (interval > longest) return;
  throw new ConfigError(
    'input start-limit-interval',
    `${interval} s is not longer than ${burst} starts with ${delay} s between them (${longest} s), so a crashing worker would be restarted forever`,
    `more than ${longest}s, a smaller \`start-limit-burst\`, or a shorter \`restart-delay\``,
    { because: ['start-limit-burst', 'restart-delay'] },
  );
}

function refuseOwnUnit({ unit, 'also-restart': companions }: DeployWorkerValues): void {
  if (!companions.some((each) => each.unit === unit)) return;
  throw new ConfigError(
    'input also-restart',
    `${unit} is the worker's own unit, which is restarted anyway`,
    'other units of the same app',
  );
}
