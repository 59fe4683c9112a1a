import { findStrays, identityOf } from '../celery/strays.ts';
import { workerCallOf } from '../celery/worker-call.ts';
import type { Stray, VerifyFacts } from '../verify/evidence.ts';

/** If the app is unknown, stray workers cannot be told apart from workers of other apps. */
export function straysOf({ host, unit, workers }: VerifyFacts): readonly Stray[] | null {
  const call = workerCallOf(unit, host.cpus);
  if (call === null || call.app === null) {
    return null;
  }
  return findStrays(workers, identityOf(unit, call.app, call.workingDirectory)).strays;
}
