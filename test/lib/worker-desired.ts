import type { DeployWorkerDesired } from '../../src/config/deploy-worker-desired.ts';
import { bytes, MiB, seconds } from '../../src/model/units.ts';

/** What a run asks for that sets nothing but this. */
export const workerDesired = (
  asked: Partial<DeployWorkerDesired> & Pick<DeployWorkerDesired, 'unit' | 'supportModule'>,
): DeployWorkerDesired => ({
  unitMode: 'rewrite',
  hardening: 'off',
  readWritePaths: [],
  concurrency: 1,
  maxMemoryPerChildBytes: null,
  maxTasksPerChild: null,
  prefetchMultiplier: null,
  acceptedRules: [],
  queues: null,
  memoryMaxBytes: bytes(800 * MiB),
  memoryHighBytes: bytes(600 * MiB),
  longestTaskSeconds: seconds(900),
  drain: { timeoutSeconds: seconds(900), policy: 'proceed' },
  orphanedJobs: null,
  restoreUnacked: false,
  watchdogSec: seconds(300),
  restartSec: seconds(10),
  startLimitBurst: 5,
  startLimitIntervalSec: seconds(300),
  startTimeoutSeconds: seconds(120),
  minHealthySeconds: seconds(10),
  supportDirectory: '/usr/local/lib/celeriac',
  strays: { graceSeconds: seconds(960) },
  restartPolicy: 'when-needed',
  app: null,
  ...asked,
});
