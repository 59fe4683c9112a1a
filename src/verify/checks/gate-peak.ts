import { formatBytes, formatCount } from '../../report/quantities.ts';
import { type CheckModule, checkOf, doubtful, fine, unknownCheck, wrong } from '../check.ts';
import { aroundGate, notComparable, restartedIn } from '../gate-effects.ts';
import { readLimit } from '../unit-values.ts';

/** Of MemoryHigh; a cgroup that uses less by itself reaches it by its cache of files. */
const cachedShare = 0.75;

/** Memory while the probes of the gate ran, against MemoryHigh. */
export const gatePeak: CheckModule = {
  id: 'gate-peak',
  title: 'gate: peak of memory',
  proves: 'The unit stayed below its `MemoryHigh` during the gate.',
  doesNotProve: 'That it does with larger jobs, or more of them at once.',
  judge(seen) {
    const around = aroundGate(seen);
    if (around === null) return [];
    const high = readLimit(around.after.unit, 'MemoryHigh');
    if (typeof high !== 'number') return [];
    const [before, after] = [around.before.unit.memory, around.after.unit.memory];
    if (before === null || after === null) {
      return unknownCheck(gatePeak, 'the unit has no memory accounting');
    }
    if (restartedIn(around)) return notComparable(gatePeak);
    // The peak is that since the start: only one that grew is of the gate. The counter is exact.
    const throttled = (after.events.high ?? 0) - (before.events.high ?? 0);
    const grown = (after.peakBytes ?? 0) > (before.peakBytes ?? 0) ? after.peakBytes : null;
    const peak = grown ?? after.currentBytes;
    const found = `${formatBytes(peak)} with MemoryHigh ${formatBytes(high)}`;
    if (throttled <= 0 && peak < high) return checkOf(gatePeak, [fine(found)]);
    const next = 'raise memory-high and memory-max, or lower the concurrency';
    const count = throttled > 0 ? `, throttled ${formatCount(throttled, 'time')}` : '';
    const held = after.anonBytes ?? null;
    // Jobs that read and write large files fill their cgroup with cache, at the cost of nobody.
    const isCache = held !== null && held < high * cachedShare;
    const kept = held === null ? '' : `, ${formatBytes(held)} of it no cache of files`;
    const remark = isCache ? doubtful : wrong;
    return checkOf(gatePeak, [remark(`${found}${count}${kept}`, 'a peak below MemoryHigh', next)]);
  },
};
