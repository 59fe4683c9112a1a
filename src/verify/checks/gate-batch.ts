import type { CheckModule } from '../check.ts';
import { latest } from '../evidence.ts';
import { judgeRequests } from '../gate-result.ts';

/** The batch of the gate. */
export const gateBatch: CheckModule = {
  id: 'gate-batch',
  title: 'gate: batch of probes',
  proves: 'Several probes at once (with canaries, at least one per queue) completed in time.',
  doesNotProve: 'That the worker can handle its usual load.',
  judge: (seen) => judgeRequests(seen.gate, gateBatch, latest(seen).journal.tail),
};
