import { formatBytes } from '../../model/quantities.ts';
import { type CheckModule, checkOf, doubtful, fine, unknownCheck, wrong } from '../check.ts';
import { aroundGate, notComparable, restartedIn } from '../gate-effects.ts';
import { memoryGrowth } from '../memory-growth.ts';

/** Memory after the gate against that before it. */
export const memoryReturn: CheckModule = {
  id: 'memory-return',
  title: 'gate: memory released',
  proves:
    'Soon after the gate, the unit uses hardly more memory than before it, without file caches.',
  doesNotProve: 'That memory does not grow over hours: the soak does.',
  judge(seen, { memoryReturnBytes }) {
    const around = aroundGate(seen);
    if (around === null) return [];
    const growth = memoryGrowth(
      around.before.unit.memory,
      around.after.unit.memory,
      memoryReturnBytes,
    );
    if (growth === null) return unknownCheck(memoryReturn, 'the unit has no memory accounting');
    if (restartedIn(around)) return notComparable(memoryReturn);
    const { beforeBytes, afterBytes, allowedBytes, isAllowed } = growth;
    const found = `${formatBytes(beforeBytes)} before, ${formatBytes(afterBytes)} after`;
    if (isAllowed) return checkOf(memoryReturn, [fine(found)]);
    const expected = `at most ${formatBytes(allowedBytes)} more than before`;
    const next =
      'watch whether it grows with each job; max-memory-per-child replaces children that grow';
    const remark = memoryReturnBytes === null ? doubtful : wrong;
    return checkOf(memoryReturn, [remark(found, expected, next)]);
  },
};
