import type { CleanupValues } from './action-inputs.ts';
import { type CleanUpDesired, cleanUpDefaults } from './cleanup-desired.ts';

/** What the inputs of cleanup ask for. `runUrl` is named in the rows that are changed. */
export function cleanUpDesired(inputs: CleanupValues, runUrl: string): CleanUpDesired {
  return {
    ...cleanUpDefaults,
    database: inputs.database.path,
    unit: inputs.unit,
    action: inputs.action,
    thresholdSeconds: inputs.threshold,
    ids: inputs.ids,
    orphans: inputs.orphans,
    snapshotLimitBytes: inputs['snapshot-limit'],
    keepBackups: inputs['keep-backups'],
    busyTimeoutSeconds: inputs['busy-timeout'],
    dryRun: inputs['dry-run'],
    runUrl,
  };
}
