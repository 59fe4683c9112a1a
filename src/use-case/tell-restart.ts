import type { Outcome } from '../model/outcome.ts';
import { describeRestart } from '../report/restart.ts';
import type { Told } from './carry-out.ts';

/** What deploy-worker reports about a restart. `null`: nothing was done. */
export function tellRestart(outcome: Outcome | null): Told {
  const { downtimeSeconds, sentence, findings } =
    outcome === null
      ? { downtimeSeconds: null, sentence: '', findings: [] }
      : describeRestart(outcome);
  return { sentence, findings, outputs: { downtime: String(downtimeSeconds ?? '') } };
}
