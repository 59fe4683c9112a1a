import type { CheckModule } from '../check.ts';
import { latest } from '../evidence.ts';
import { judgeRequests } from '../gate-result.ts';

/** The single probe of the gate. */
export const gateJob: CheckModule = {
  id: 'gate-job',
  title: 'gate: single probe',
  proves: 'A single probe went through the broker to the worker and completed in time.',
  doesNotProve: 'That other tasks do.',
  judge: (seen) => judgeRequests(seen.gate, gateJob, latest(seen).journal.tail),
};
