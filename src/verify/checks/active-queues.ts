import { formatList } from '../../model/quantities.ts';
import { type CheckModule, checkOf, doubtful, fine, unknownCheck, wrong } from '../check.ts';

/** The queues that the worker says it consumes, against those of its unit. */
export const activeQueues: CheckModule = {
  id: 'active-queues',
  title: 'consumed queues',
  proves: 'The worker reports that it consumes each queue of its `-Q`, and none of its `-X`.',
  doesNotProve:
    'That it receives their messages: `consuming` and the gate show that. Queues of Broadcast, which each process names by itself, are not compared.',
  judge({ broker: search, call }) {
    if (search.kind === 'not-asked') return unknownCheck(activeQueues, `not asked: ${search.why}`);
    const fact = search.last;
    if (fact.kind !== 'told') return unknownCheck(activeQueues, `not known: ${fact.problem}`);
    const { worker } = fact;
    if (worker.kind === 'silent') return unknownCheck(activeQueues, `not known: ${worker.why}`);
    const active = worker.queues;
    const excluded = call?.excludedQueues ?? [];
    if (excluded === 'unknown') {
      return unknownCheck(activeQueues, 'unknown: -X of the unit contains variables');
    }
    // By their real names, or without -Q the app's own queues.
    const wanted = Object.keys(fact.lengths).filter((name) => !excluded.includes(name));
    if (wanted.length === 0 && active.length === 0) {
      return unknownCheck(activeQueues, 'unknown: each process names its queues by itself');
    }
    const missing = wanted.filter((name) => !active.includes(name));
    const more = active.filter((name) => !wanted.includes(name));
    const seen = active.length === 0 ? 'none' : active.join(', ');
    if (missing.length > 0) {
      const expected = `${formatList(missing)}, too`;
      const next =
        'restart the worker, or `celery control add_consumer`: somebody cancelled a consumer';
      return checkOf(activeQueues, [wrong(seen, expected, next)]);
    }
    if (more.length === 0) return checkOf(activeQueues, [fine(seen)]);
    const next = `add ${formatList(more)} to -Q of the unit, or restart the worker`;
    return checkOf(activeQueues, [doubtful(seen, `only ${formatList(wanted)}`, next)]);
  },
};
