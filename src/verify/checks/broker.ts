import { formatCount, formatDuration } from '../../model/quantities.ts';
import { type CheckModule, checkOf, doubtful, fine, unknownCheck, wrong } from '../check.ts';

/** The app's broker: reachable for the app, and no message held for too long. */
export const broker: CheckModule = {
  id: 'broker',
  title: 'broker',
  proves:
    'A process of the app reaches its broker, and no message was delivered longer ago than the broker waits for its acknowledgement (with Redis).',
  doesNotProve:
    'That the worker is connected: `consuming` and the gate show that. RabbitMQ does not report how long a message has been unacknowledged.',
  judge({ broker: search }) {
    if (search.kind === 'not-asked') return unknownCheck(broker, `not asked: ${search.why}`);
    const fact = search.last;
    if (fact.kind === 'unknown') return unknownCheck(broker, `not known: ${fact.problem}`);
    if (fact.kind === 'unreachable') {
      const next = 'check that the broker runs, and the broker URL of the app';
      return checkOf(broker, [wrong(fact.problem, 'a broker that answers', next)]);
    }
    const { transport, unacked, oldestUnackedSeconds: oldest, redeliverySeconds: limit } = fact;
    const held = unacked === null ? '' : `, ${formatCount(unacked, 'message')} unacknowledged`;
    const since =
      oldest === null ? '' : `, the oldest delivered to a worker ${formatDuration(oldest)} ago`;
    const remarks = [fine(`${transport} answers${held}${since}`)];
    if (oldest !== null && limit !== null && oldest > limit) {
      const expected = `acknowledged within ${formatDuration(limit)} (visibility timeout)`;
      const next = 'a longer task runs a second time: raise visibility_timeout, or run cleanup';
      remarks.push(doubtful('', expected, next));
    }
    return checkOf(broker, remarks);
  },
};
