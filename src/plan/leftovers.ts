import type { DeployWorkerDesired } from '../config/deploy-worker-desired.ts';
import { chooseStores } from '../jobs/tables/store-choice.ts';
import type { StoreFact } from '../model/facts/store.ts';
import type { AskingTheApp } from '../model/operation/app.ts';
import type { Operation } from '../model/operation.ts';

/** Messages of dead workers. */
export interface Leftovers {
  /** While nothing runs: after the strays, before the start. */
  readonly beforeStart: readonly Operation[];
  /** Operations without downtime: after the proof of the new worker. */
  readonly afterProof: readonly Operation[];
}

/**
 * Plans what to do with messages that the old worker, or an earlier one, left behind. Jobs are settled
 * after the release, in a transaction of their own; whether that can be is decided before it.
 *
 * @throws ConfigError when jobs are to be settled and no database with jobs is found
 */
export function planLeftovers(
  app: AskingTheApp,
  stores: readonly StoreFact[],
  desired: DeployWorkerDesired,
): Leftovers {
  const { otherWorkers: _, ...own } = app;
  if (desired.orphanedJobs !== null) chooseStores(stores, desired.orphanedJobs);
  const restore: Operation = {
    op: 'restore-unacked',
    ...app,
    title: 'return messages of dead workers to their queues',
    why: 'otherwise they wait for the visibility timeout',
  };
  const find: Operation = {
    op: 'find-unacked',
    ...own,
    title: 'find messages of dead workers',
    why: 'their tasks wait for the visibility timeout; `restore-unacked` is off',
  };
  return {
    beforeStart: desired.restoreUnacked ? [restore] : [],
    afterProof: desired.restoreUnacked ? [] : [find],
  };
}
