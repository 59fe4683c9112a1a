import { mostLegs } from '../../config/rollout-inputs.ts';
import type { JobResults, PlannedRollout } from '../../model/fleet.ts';

/** The job of pipeline.yml whose matrix deploys a host, as planRollout divides them. */
export function jobOf({ hosts, canaries }: PlannedRollout, host: string): string {
  const place = hosts.indexOf(host) - canaries;
  return place < 0 ? 'canary' : `batch-${Math.floor(place / mostLegs) + 1}`;
}

/**
 * Jobs that failed although none of their hosts is known to have: a record of each is missing, because a list of
 * artifacts may be cut.
 */
export function hiddenFailures(
  plan: PlannedRollout,
  failed: ReadonlySet<string>,
  results: JobResults,
): readonly string[] {
  const explained = new Set([...failed].map((host) => jobOf(plan, host)));
  return Object.entries(results)
    .filter(([job, result]) => result === 'failure' && !explained.has(job))
    .map(([job]) => job);
}
