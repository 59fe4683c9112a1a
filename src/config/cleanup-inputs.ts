import { ConfigError } from '../model/errors.ts';
import type { CleanupValues } from './action-inputs.ts';
import { type CleanUpDesired, cleanUpDefaults } from './cleanup-desired.ts';
import { parseStores } from './stores-input.ts';

/**
 * The desired state of cleanup. `runUrl` is recorded in the rows that are changed.
 *
 * @throws ConfigError when `stores` is invalid
 */
export function cleanUpDesired(inputs: CleanupValues, runUrl: string): CleanUpDesired {
  const stores = parseStores(inputs.stores);
  if (stores.length > 0 && inputs.database.path !== null) {
    throw new ConfigError(
      'input stores',
      '`stores` and `database` cannot be combined',
      'one of the two',
    );
  }
  if (inputs['delete-completed'] && (inputs.action !== 'delete' || inputs.ids.length === 0)) {
    throw new ConfigError(
      'input delete-completed',
      '`delete-completed` needs `action: delete` and `ids`',
      'the `ids` of the jobs to delete, completed or not',
    );
  }
  return {
    ...cleanUpDefaults,
    database: inputs.database.path,
    stores,
    unit: inputs.unit,
    action: inputs.action,
    thresholdSeconds: inputs.threshold,
    ids: inputs.ids,
    deleteCompleted: inputs['delete-completed'],
    statuses: inputs.statuses,
    orphans: inputs.orphans,
    evidence: inputs.evidence,
    confirmAfterSeconds: inputs['confirm-after'],
    maxResets: inputs['max-resets'],
    timeZone: inputs.timezone,
    snapshotLimitBytes: inputs['snapshot-limit'],
    keepBackups: inputs['keep-backups'],
    busyTimeoutSeconds: inputs['busy-timeout'],
    dryRun: inputs['dry-run'],
    runUrl,
  };
}
