import type { CleanUpDesired } from '../config/cleanup-desired.ts';
import { findStuck, noneStuck } from '../jobs/judge/dead-rows.ts';
import type { StuckRow } from '../jobs/judge/staleness.ts';
import { reportLeft, untouched } from '../jobs/tables/skipped-rows.ts';
import { queryStores } from '../jobs/tables/store-choice.ts';
import type { Finding } from '../model/operation.ts';
import type { EpochSeconds } from '../model/units.ts';
import { type CopyTools, copyStores } from './copy-stores.ts';

/** The stuck rows of a database, for verify. */
export interface StuckCount {
  readonly database: string;
  /** By the host's clock. */
  readonly takenAt: EpochSeconds;
  readonly stuck: readonly StuckRow[];
  readonly findings: readonly Finding[];
}

/**
 * Finds the rows without a sign of life, without a plan and without asking about their tasks.
 *
 * @throws ConfigError when there is no database with jobs
 * @throws HostError when a database cannot be read or copied
 */
export async function lookForStuckRows(
  tools: CopyTools,
  desired: CleanUpDesired,
): Promise<readonly StuckCount[]> {
  const { stores } = await tools.agent.look({ stores: queryStores(desired) });
  const copies = await copyStores(tools, stores, desired);
  try {
    const found = findStuck(copies, false, desired);
    return copies.map(({ database, takenAt }, index) => {
      const { stuck, left, findings } = found[index] ?? noneStuck;
      return { database, takenAt, stuck, findings: [...reportLeft(left, untouched), ...findings] };
    });
  } finally {
    for (const { store } of copies) store[Symbol.dispose]();
  }
}
