import { appProcessOf } from '../celery/app-process.ts';
import { otherWorkersIn } from '../celery/worker-process.ts';
import type { CleanUpDesired } from '../config/cleanup-desired.ts';
import { noneStuck } from '../jobs/judge/dead-rows.ts';
import type { RecordedStop } from '../jobs/judge/recorded-stop.ts';
import {
  type CleanUp,
  describeCleanUp,
  limitChanges,
  type PlannedRepair,
} from '../jobs/repair/clean-up-plan.ts';
import { queryStores } from '../jobs/tables/store-choice.ts';
import { ConfigError, HostError } from '../model/errors.ts';
import type { StoreFact } from '../model/facts/store.ts';
import type { UnitFact } from '../model/facts/unit.ts';
import type { AskingTheApp } from '../model/operation/app.ts';
import { requireLoaded } from '../systemd/unit-state.ts';
import { type CopyTools, copyStores, type StoreCopy } from './copy-stores.ts';
import { findDead } from './find-dead.ts';
import { lookAtPrograms } from './look-at-programs.ts';
import { rehearseOnHost } from './rehearse-on-host.ts';
import { repairCopy } from './repair-copy.ts';

/** Everything that the use case needs from outside. */
export interface CleanUpTools extends CopyTools {
  /** Generates the id of a task to send: a UUID, like Celery's. */
  readonly newTaskId: () => string;
}

/**
 * Finds the stuck jobs in the host's databases, decides what becomes of each, and rehearses the
 * changes. Nothing is changed on the host: applying `plan.operations` does that.
 *
 * @param stop a recorded stop: then the jobs that it left behind, whatever their age
 * @throws ConfigError when there is no database with jobs, an id matches nothing, or the unit does
 * not show how to reach its app
 * @throws HostError when a database cannot be read or copied, or the worker cannot be asked
 */
export async function planCleanUp(
  tools: CleanUpTools,
  desired: CleanUpDesired,
  stop: RecordedStop | null = null,
): Promise<CleanUp> {
  const host = await lookAtHost(tools, desired);
  const copies = await copyStores(tools, host.stores, desired);
  try {
    const app = host.unit === null ? null : requireApp(host.unit);
    refuseTurnedClock(copies, stop);
    const { found, evidence } = await findDead(tools, copies, { ...host, app, stop }, desired);
    const resets = await countResets(tools, copies, desired);
    const planned: PlannedRepair[] = [];
    for (const [index, copy] of copies.entries()) {
      const dead = found[index] ?? noneStuck;
      planned.push(
        await repairCopy(copy, dead, evidence, resets[index] ?? {}, tools.newTaskId, desired),
      );
    }
    const tried = await rehearseOnHost(tools.agent, limitChanges(planned), desired);
    return describeCleanUp(tried, app, evidence, desired);
  } finally {
    for (const { store } of copies) store[Symbol.dispose]();
  }
}

interface HostLook {
  readonly stores: readonly StoreFact[];
  /** `null`: the app is not needed. */
  readonly unit: UnitFact | null;
}

async function lookAtHost(tools: CleanUpTools, desired: CleanUpDesired): Promise<HostLook> {
  const { agent } = tools;
  const stores = queryStores(desired);
  const { databases } = stores;
  const asksApp = needsApp(desired);
  if (databases !== null && !asksApp) {
    return { ...(await agent.look({ stores })), unit: null };
  }
  const found = await agent.look({ stores, unit: { name: desired.unit } });
  // Otherwise a typo in its name would look like an app without a database.
  if (databases === null) requireLoaded(found.unit, 'input unit', unitHint);
  return asksApp ? lookAtPrograms(agent, found) : { ...found, unit: null };
}

const unitHint = 'the unit of a Celery worker';

/** Whether the app is needed to ask about tasks or to send them. */
function needsApp({ evidence, action, stores }: CleanUpDesired): boolean {
  const tables = stores.flatMap((store) => Object.values(store.tables));
  const sends = action === 'reset' && tables.some(({ resend }) => resend !== undefined);
  return evidence === 'broker' || sends;
}

/** @throws ConfigError when the unit does not show how to reach its app */
function requireApp(unit: UnitFact): AskingTheApp {
  const hint = `${unitHint}; with \`evidence: age\` the worker is not needed`;
  requireLoaded(unit, 'input unit', hint);
  const app = appProcessOf(unit);
  if (app.kind === 'known') {
    return { ...app.process, otherWorkers: otherWorkersIn(app.workingDirectory) };
  }
  const problem = `cannot read the Celery app from the ExecStart of ${unit.name}`;
  throw new ConfigError('input unit', problem, hint);
}

/** Before and after a stop is told by one clock; where it was set back meanwhile, by none. */
function refuseTurnedClock(copies: readonly StoreCopy[], stop: RecordedStop | null): void {
  if (stop === null || copies.every(({ takenAt }) => takenAt >= stop.at)) return;
  throw new HostError(`the clock of the host was set back since ${stop.unit} stopped`, {
    step: 'compare the times of jobs with the stop',
    next: 'nothing: the next clean-up decides by the age of the jobs',
  });
}

async function countResets(
  { agent }: CleanUpTools,
  copies: readonly StoreCopy[],
  { action }: CleanUpDesired,
): Promise<readonly Readonly<Record<string, number>>[]> {
  if (action !== 'reset') return [];
  const counts: Readonly<Record<string, number>>[] = [];
  for (const { database } of copies) {
    counts.push((await agent.look({ resets: { database } })).resets);
  }
  return counts;
}
