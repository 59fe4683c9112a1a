import type { DeployWorkerDesired } from '../config/deploy-worker-desired.ts';
import { signed } from '../jobs/repair/fate.ts';
import { planSettled } from '../jobs/repair/settling.ts';
import { holdJobs, judgeTables, tellDoubtful } from '../jobs/tables/job-tables.ts';
import { proposeMapping } from '../jobs/tables/mapping.ts';
import { ConfigError } from '../model/errors.ts';
import type { StoreFact, StoreTable } from '../model/facts.ts';
import type { StoreMapping } from '../model/job-store.ts';
import type { AskingTheApp, Finding, Operation } from '../model/operation.ts';

/** What dead workers left behind: jobs without a message, messages without a worker. */
export interface Leftovers {
  /** While nothing runs: after the strays, before the start. */
  readonly beforeStart: readonly Operation[];
  /** Operations without downtime: after the proof of the new worker. */
  readonly afterProof: readonly Operation[];
  readonly findings: readonly Finding[];
}

/**
 * Plans what to do with jobs and messages that the old worker, or an earlier one, left behind.
 *
 * @throws ConfigError when jobs are to be settled and no database with jobs is found
 */
export function planLeftovers(
  app: AskingTheApp,
  stores: readonly StoreFact[],
  desired: DeployWorkerDesired,
): Leftovers {
  const { otherWorkers: _, ...own } = app;
  const { settle, findings } = planSettling(app, stores, desired);
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
    beforeStart: [...settle, ...(desired.restoreUnacked ? [restore] : [])],
    afterProof: desired.restoreUnacked ? [] : [find],
    findings,
  };
}

interface Settling {
  readonly settle: readonly Operation[];
  readonly findings: readonly Finding[];
}

function planSettling(
  app: AskingTheApp,
  stores: readonly StoreFact[],
  desired: DeployWorkerDesired,
): Settling {
  const { action, keepBackups, busyTimeoutSeconds } = desired.orphanedJobs;
  if (action === 'leave') return { settle: [], findings: [] };
  const findings: Finding[] = [];
  const settle = chooseStores(stores, desired).flatMap(
    ({ database, mapping, facts, told }): Operation[] => {
      if (told !== null) findings.push(told);
      const tables = mapping.filter(({ task }) => task !== null).map(({ table }) => table);
      if (tables.length === 0) {
        const message = `no table of ${database} has a column with task ids, so abandoned jobs cannot be identified; skipped`;
        findings.push({ level: 'warning', message });
        return [];
      }
      return [
        {
          op: 'settle-jobs',
          ...app,
          database,
          ...planSettled(mapping, facts, action, desired.orphanedJobs.runUrl),
          action,
          message: messageFor(desired),
          keepBackups,
          busyTimeoutSeconds,
          title: `${action} abandoned jobs in ${database}`,
          why: `no worker is left, so jobs of ${tables.join(', ')} that are in progress without a message are abandoned`,
        },
      ];
    },
  );
  return { settle, findings };
}

function messageFor({ orphanedJobs, unit }: DeployWorkerDesired): string {
  const done = signed('marked failed', orphanedJobs);
  return `abandoned: in progress after ${unit} had stopped, with no message in the broker; ${done}`;
}

interface ChosenStore {
  readonly database: string;
  readonly mapping: StoreMapping;
  readonly facts: readonly StoreTable[];
  /** Its skipped tables, with the reasons. */
  readonly told: Finding | null;
}

function chooseStores(
  stores: readonly StoreFact[],
  desired: DeployWorkerDesired,
): readonly ChosenStore[] {
  const chosen = stores.flatMap((fact) =>
    fact.kind === 'sqlite' && holdJobs(fact.tables)
      ? [
          {
            database: fact.path,
            mapping: proposeMapping(fact.path, fact.tables),
            facts: fact.tables,
            told: tellDoubtful(fact.path, judgeTables(fact.tables)),
          },
        ]
      : [],
  );
  if (chosen.length > 0) return chosen;
  const seen = stores.map((fact) => (fact.kind === 'unreadable' ? fact.problem : fact.path));
  throw new ConfigError(
    'input orphaned-jobs',
    seen.length === 0
      ? `no SQLite file was found below the WorkingDirectory of ${desired.unit}`
      : `no database with jobs was found: ${seen.join(', ')}`,
    'the path of the SQLite file in which the app keeps its jobs: set `database`; or `leave`',
  );
}
