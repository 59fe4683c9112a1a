import { formatCount, formatDuration } from '../../model/quantities.ts';
import { seconds } from '../../model/units.ts';
import { type CheckModule, checkOf, doubtful, fine, unknownCheck } from '../check.ts';

/** A queue that is shorter is not reported: a batch may just have been sent. */
const leastLength = 10;

/** How many messages wait in each queue, at two looks. */
export const queueLengths: CheckModule = {
  id: 'queue-lengths',
  title: 'queue lengths',
  proves: 'No queue of the worker grew beyond ten messages between two looks of this run.',
  doesNotProve: 'That the worker keeps up all day: two looks are minutes apart at most.',
  judge({ broker: search }) {
    if (search.kind === 'not-asked') return unknownCheck(queueLengths, `not asked: ${search.why}`);
    const { first, last } = search;
    if (last.kind !== 'told') return unknownCheck(queueLengths, `not known: ${last.problem}`);
    const before = first.kind === 'told' ? first.lengths : null;
    const names = Object.keys(last.lengths);
    const total = names.reduce((sum, name) => sum + (last.lengths[name] ?? 0), 0);
    const growing = names.filter((name) => {
      const now = last.lengths[name] ?? 0;
      return before !== null && now >= leastLength && now > (before[name] ?? 0);
    });
    const describe = (name: string) =>
      describeLength(name, before?.[name], last.lengths[name] ?? 0);
    const evidence = total === 0 ? [] : names.map(describe);
    if (growing.length === 0) {
      const waits = total === 0 ? 'empty' : `${formatCount(total, 'message')} waiting`;
      return checkOf(queueLengths, [fine(waits)], evidence);
    }
    const apart = formatDuration(seconds(search.lastAt - search.firstAt));
    const next = 'raise the concurrency, or find out what sends so many jobs';
    const seen = growing.map(describe).join(', ');
    const remark = doubtful(seen, `queues that do not grow within ${apart}`, next);
    return checkOf(queueLengths, [remark], evidence);
  },
};

const describeLength = (name: string, before: number | undefined, now: number): string =>
  before === undefined || before === now ? `${name}: ${now}` : `${name}: ${before}, then ${now}`;
