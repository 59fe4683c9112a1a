import { ConfigError } from '../model/errors.ts';
import type { DeployWorkerValues } from './action-inputs.ts';
import type { DeployWorkerDesired } from './deploy-worker-desired.ts';
import { refuseMemoryHigh } from './memory-limits.ts';
import { releaseDesired } from './release-inputs.ts';
import { supportDirectoryOf } from './support-directory.ts';

const supportName = 'celeriac_support';

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
  const memoryMaxBytes = inputs['memory-max'] === 'off' ? null : inputs['memory-max'];
  const memoryHighBytes = inputs['memory-high'] === 'off' ? null : inputs['memory-high'];
  refuseStartLimit(inputs);
  refuseOwnUnit(inputs);
  refuseMemoryHigh(memoryHighBytes, memoryMaxBytes, '`off`');
  return {
    unit: inputs.unit,
    unitMode: inputs['unit-mode'],
    hardening: inputs.hardening,
    readWritePaths: inputs['read-write-paths'],
    concurrency: inputs.concurrency,
    queues: queues.length === 0 ? null : queues,
    memoryMaxBytes,
    memoryHighBytes,
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
    supportDirectory: supportDirectoryOf(supportText),
    supportModule: { name: supportName, text: supportText },
    strays: { graceSeconds: inputs['stray-timeout'] },
    restartPolicy: inputs.restart,
    app: null,
    beforeStart: {
      commands: inputs['before-start'],
      timeoutSeconds: inputs['before-start-timeout'],
    },
    companions: inputs['also-restart'],
    release: releaseDesired(inputs),
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
