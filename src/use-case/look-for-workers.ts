import { beatCommand, workerCommand } from '../celery/worker-process.ts';
import { statusColumns } from '../jobs/tables/columns.ts';
import type { UnitFact } from '../model/facts/unit.ts';
import type { FactAnswers } from '../model/facts.ts';
import {
  type FoundWorkers,
  findWorkers,
  mainWorkers,
  type UnitWorker,
  unitsToLookAt,
} from '../plan/init/find-workers.ts';
import type { WorkerFacts } from '../plan/init/fleet-text.ts';
import { proposedNames } from '../plan/init/propose-unit.ts';
import { sizeWorker } from '../plan/init/size-worker.ts';
import type { Agent } from '../ports/agent.ts';
import { lookAtPrograms } from './look-at-programs.ts';

type Looker = Pick<Agent, 'look'>;

/** So many services are looked at: each is one more question. */
const mostUnits = 30;
const mostProcesses = 50;

/** What a host that nobody has described shows at first. */
export interface FirstLook extends Pick<FactAnswers, 'host' | 'workers' | 'beats' | 'swap'> {
  readonly found: FoundWorkers;
}

/** Looks for the Celery workers of a host, whatever runs them. Changes nothing. @throws HostError */
export async function lookForWorkers(agent: Looker): Promise<FirstLook> {
  const { services, ...facts } = await agent.look({
    host: {},
    workers: { command: workerCommand },
    services: { command: 'celery' },
    beats: { command: beatCommand },
    swap: { path: '/swapfile' },
  });
  const units: UnitFact[] = [];
  for (const name of unitsToLookAt({ services, workers: facts.workers }).slice(0, mostUnits)) {
    const { unit } = await lookAtPrograms(agent, await agent.look({ unit: { name } }));
    units.push(unit);
  }
  const pids = mainWorkers(facts.workers)
    .map(({ pid }) => pid)
    .slice(0, mostProcesses);
  const starts = pids.length === 0 ? [] : (await agent.look({ starts: { pids } })).starts;
  return { ...facts, found: findWorkers({ ...facts, starts, units }) };
}

/**
 * A name for a new unit that no unit of the host has: no file anywhere, no alias, and none that still
 * runs without its file. `null`: none of those that are tried.
 *
 * @throws HostError
 */
export async function findFreeUnit(agent: Looker): Promise<string | null> {
  for (const name of proposedNames) {
    const { unit } = await agent.look({ unit: { name } });
    if (unit.loadState === 'not-found' && unit.activeState === 'inactive') return name;
  }
  return null;
}

/**
 * Looks at everything that the settings of a worker depend on.
 *
 * @param hasCommit whether the repository in which they are written has a commit
 * @throws HostError
 */
export async function lookAtChosen(
  agent: Looker,
  first: FirstLook,
  worker: UnitWorker,
  hasCommit: (commit: string) => Promise<boolean>,
): Promise<WorkerFacts> {
  const unit = worker.unit.name;
  const facts = await agent.look({
    limits: { unit },
    stores: { unit, databases: null, user: null, statusColumns },
    companions: { unit, units: [], folder: null },
    release: { unit, source: 'git', checkout: null, deployTo: null, user: null },
  });
  const { tree } = facts.release;
  return {
    worker,
    sizing: sizeWorker(worker, { ...first, limits: facts.limits }),
    stores: facts.stores,
    companions: facts.companions,
    beats: first.beats,
    tree,
    isThisRepository: tree.kind === 'checkout' && (await hasCommit(tree.head)),
  };
}
