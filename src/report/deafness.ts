import type { ConsumingNews } from '../model/facts/broker.ts';
import { formatCount, formatDuration } from '../model/quantities.ts';

/**
 * What shows that a worker runs and consumes nothing, e.g. `it runs and consumes nothing: 3 messages
 * wait in celery, and it was idle for 6 s`; `null`: nothing shows it.
 */
export function describeDeafness(fact: ConsumingNews): string | null {
  const says = 'it runs and consumes nothing: ';
  switch (fact.kind) {
    case 'consumes':
    case 'reported':
    case 'unknown':
      return null;
    case 'told':
      return says + fact.status.replace(/^Consumes nothing: /, '');
    case 'nothing': {
      const queues = Object.entries(fact.waiting);
      const total = queues.reduce((sum, [, count]) => sum + count, 0);
      const where = queues.map(([queue]) => queue).join(', ');
      const did = fact.answers ? 'it was idle' : 'it did not answer';
      const wait = `${formatCount(total, 'message')} ${total === 1 ? 'waits' : 'wait'}`;
      return `${says}${wait} in ${where}, and ${did} for ${formatDuration(fact.seconds)}`;
    }
  }
}
