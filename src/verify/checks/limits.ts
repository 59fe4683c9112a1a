import { formatBytes } from '../../report/quantities.ts';
import {
  type CheckModule,
  checkOf,
  doubtful,
  fine,
  type Remark,
  unclear,
  wrong,
} from '../check.ts';
import { latest } from '../evidence.ts';
import { readLimit } from '../unit-values.ts';

/** MemoryMax and MemoryHigh as systemd enforces them. */
export const limits: CheckModule = {
  id: 'limits',
  title: 'memory limits',
  proves:
    'systemd enforces the desired MemoryMax and MemoryHigh, whichever file sets them, and MemoryHigh has swap to reclaim to.',
  doesNotProve: 'That the limits fit the tasks.',
  judge(seen, desired) {
    const { unit, host } = latest(seen);
    const max = readLimit(unit, 'MemoryMax');
    const high = readLimit(unit, 'MemoryHigh');
    const remarks = [
      judgeLimit('MemoryMax', max, desired.memoryMaxBytes),
      judgeLimit('MemoryHigh', high, desired.memoryHighBytes),
    ];
    if (max === null && desired.memoryMaxBytes === null) {
      const next = 'set memory-max in deploy-worker';
      remarks.push(
        doubtful('', 'a MemoryMax, so that a memory leak cannot take down the host', next),
      );
    }
    if (typeof high === 'number' && host.memory.swapTotalBytes === 0) {
      // MemoryHigh throttles and never kills; without swap there is nothing to reclaim to.
      const next = 'run provision, or remove MemoryHigh';
      remarks.push(doubtful('the host has no swap', 'swap, because MemoryHigh is set', next));
    }
    return checkOf(limits, remarks);
  },
};

function judgeLimit(
  property: string,
  actual: number | null | undefined,
  desired: number | null,
): Remark {
  const seen =
    actual === undefined
      ? `${property} unknown`
      : actual === null
        ? `no ${property}`
        : `${property} ${formatBytes(actual)}`;
  if (actual === undefined && desired === null) return unclear(seen);
  if (desired === null || actual === desired) return fine(seen);
  // Rounded sizes may look the same: show the bytes then.
  const wanted = `${property} ${formatBytes(desired)}`;
  const precise = typeof actual === 'number' && wanted === seen;
  return wrong(
    precise ? `${property} ${actual} bytes` : seen,
    precise ? `${property} ${desired} bytes` : wanted,
    'deploy again',
  );
}
