import { workerCommand } from '../../celery/worker-process.ts';
import type { DeployWorkerDesired } from '../../config/deploy-worker-desired.ts';
import { queryStores } from '../../jobs/tables/store-choice.ts';
import type { CompanionsFact } from '../../model/facts/beside.ts';
import type { ConsumingNews } from '../../model/facts/broker.ts';
import type { FactArguments, FactsFor } from '../../model/facts.ts';
import type { ReleaseFact, ReleaseQuery } from '../../model/release.ts';
import type { SamplingFact } from '../../model/sample.ts';
import { ownDropIns } from '../unit/drop-in-paths.ts';
import { supportPath } from './support-module.ts';

export interface DeployWorkerQuery {
  readonly host: Record<string, never>;
  readonly unit: { readonly name: string; readonly exposure: boolean };
  readonly workers: FactArguments['workers'];
  readonly swap: { readonly path: string };
  readonly limits: { readonly unit: string };
  readonly code: { readonly unit: string };
  readonly files: { readonly paths: readonly string[] };
  readonly past: Record<string, never>;
  readonly transactions: { readonly unit: string };
  readonly release: ReleaseQuery;
  readonly stores: FactArguments['stores'];
  readonly companions: FactArguments['companions'];
  readonly sampling: FactArguments['sampling'];
}

export type DeployWorkerFacts = FactsFor<
  Omit<DeployWorkerQuery, 'release' | 'companions' | 'sampling'>
> & {
  readonly release?: ReleaseFact;
  readonly companions?: CompanionsFact;
  readonly sampling?: SamplingFact;
  /** Only asked if nothing else needs a restart. */
  readonly consuming?: ConsumingNews;
};

/** The facts that the plan of a worker needs. */
export function deployWorkerQuery(desired: DeployWorkerDesired): DeployWorkerQuery {
  return {
    host: {},
    unit: { name: desired.unit, exposure: desired.hardening !== 'off' },
    workers: { command: workerCommand },
    swap: { path: '/swapfile' },
    limits: { unit: desired.unit },
    code: { unit: desired.unit },
    files: { paths: [supportPath(desired), ...ownDropIns(desired.unit)] },
    past: {},
    transactions: { unit: desired.unit },
    release: releaseQuery(desired),
    stores: storesQuery(desired),
    companions: companionsQuery(desired),
    sampling: { unit: desired.unit },
  };
}

function releaseQuery({ unit, appUser, release }: DeployWorkerDesired): ReleaseQuery {
  const from = release?.from;
  return {
    unit,
    source: from?.source ?? 'none',
    user: appUser ?? null,
    checkout: from?.source === 'git' ? from.checkout : null,
    deployTo: from?.source === 'upload' ? from.deployTo : null,
  };
}

function companionsQuery({ unit, release, companions = [] }: DeployWorkerDesired) {
  const folder = release?.from.source === 'upload' ? release.from.deployTo : null;
  return { unit, units: companions.map((each) => each.unit), folder };
}

/** Databases are searched only if jobs are to be settled. */
function storesQuery({ orphanedJobs, unit }: DeployWorkerDesired): DeployWorkerQuery['stores'] {
  if (orphanedJobs === null) return { unit, databases: [], user: null };
  return queryStores(orphanedJobs);
}
