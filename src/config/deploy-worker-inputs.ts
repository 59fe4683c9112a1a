import type { DeployWorkerValues } from './action-inputs.ts';
import type { DeployWorkerDesired } from './deploy-worker-desired.ts';
import { releaseDesired } from './release-inputs.ts';

/** Folder of the support module on the host; the unit's PYTHONPATH contains it. */
const supportDirectory = '/usr/local/lib/celeriac';
const supportName = 'celeriac_support';

/**
 * The desired state of deploy-worker. `supportText` is the source of the support module; `runUrl` is
 * recorded in the rows that are changed.
 */
export function deployWorkerDesired(
  inputs: DeployWorkerValues,
  supportText: string,
  runUrl: string | null = null,
): DeployWorkerDesired {
  const { queues, watchdog } = inputs;
  return {
    unit: inputs.unit,
    unitMode: inputs['unit-mode'],
    hardening: inputs.hardening,
    readWritePaths: inputs['read-write-paths'],
    concurrency: inputs.concurrency,
    queues: queues.length === 0 ? null : queues,
    memoryMaxBytes: inputs['memory-max'] === 'off' ? null : inputs['memory-max'],
    memoryHighBytes: inputs['memory-high'] === 'off' ? null : inputs['memory-high'],
    longestTaskSeconds: inputs['longest-task'],
    drain: {
      timeoutSeconds: inputs['drain-timeout'].seconds ?? inputs['longest-task'],
      policy: inputs['drain-policy'],
    },
    orphanedJobs: {
      action: inputs['orphaned-jobs'],
      database: inputs.database.path,
      keepBackups: inputs['keep-backups'],
      busyTimeoutSeconds: inputs['busy-timeout'],
      runUrl,
    },
    restoreUnacked: inputs['restore-unacked'],
    watchdogSec: watchdog === 0 ? null : watchdog,
    restartSec: inputs['restart-delay'],
    startLimitBurst: inputs['start-limit-burst'],
    startLimitIntervalSec: inputs['start-limit-interval'],
    startTimeoutSeconds: inputs['start-timeout'],
    minHealthySeconds: inputs['min-healthy-time'],
    supportDirectory,
    supportModule: { name: supportName, text: supportText },
    strays: { graceSeconds: inputs['stray-timeout'] },
    restartPolicy: inputs.restart,
    app: null,
    release: releaseDesired(inputs),
  };
}
