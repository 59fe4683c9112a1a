import { formatBytes, formatCount } from '../../model/quantities.ts';
import { type CheckModule, checkOf, doubtful, fine, unknownCheck, wrong } from '../check.ts';
import { aroundGate, notComparable, restartedIn } from '../gate-effects.ts';
import { readLimit } from '../unit-values.ts';

/** Percent of the last minute in which all processes waited for memory: throttling that costs. */
const stalledPercent = 10;

/** Memory while the probes of the gate ran, against MemoryHigh. */
export const gatePeak: CheckModule = {
  id: 'gate-peak',
  title: 'gate: memory peak',
  proves:
    'The unit stayed below its `MemoryHigh` during the gate. It fails if its processes alone use that much, or were stalled for lack of memory for 10 % of the last minute; otherwise it is a warning.',
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
    const kept = held === null ? '' : `, ${formatBytes(held)} of it not file cache`;
    const stalled = around.after.pressure.unit.memory?.full.avg60 ?? 0;
    const hasStalled = stalled > stalledPercent;
    const stood = hasStalled ? `, stalled for ${stalled} % of the last minute` : '';
    const remark = hasStalled || (held !== null && held >= high) ? wrong : doubtful;
    const text = `${found}${count}${kept}${stood}`;
    return checkOf(gatePeak, [remark(text, 'a peak below MemoryHigh', next)]);
  },
};
