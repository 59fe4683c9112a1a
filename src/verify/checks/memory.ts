import type { MemoryFact } from '../../model/facts/host.ts';
import type { UnitFact } from '../../model/facts/unit.ts';
import { formatBytes, formatCount } from '../../model/quantities.ts';
import { type CheckModule, checkOf, doubtful, fine, type Remark, unclear } from '../check.ts';
import type { VerifyFacts } from '../evidence.ts';
import { readLimit } from '../unit-values.ts';

/** Below this share of available memory, a host is about to run out. */
const lowMemoryShare = 0.05;
/** A peak above this share of MemoryMax is too close to the limit. */
const highPeakShare = 0.95;

/** Memory of the unit and of the host: before the probes, at its peak, after them. */
export const memory: CheckModule = {
  id: 'memory',
  title: 'memory',
  proves:
    'The unit stayed well below MemoryMax, was not throttled at MemoryHigh, and the host has memory available.',
  doesNotProve: 'That memory does not grow over hours.',
  judge({ before, after }) {
    const last = after ?? before;
    const remarks: Remark[] = [
      describeUnit(before, after),
      ...describeProcesses(last.unit),
      judgeHost(before, after),
    ];
    const max = readLimit(last.unit, 'MemoryMax');
    const peak = last.unit.memory?.peakBytes ?? null;
    if (typeof max === 'number' && peak !== null && peak > max * highPeakShare) {
      const next = 'raise memory-max, or lower the concurrency';
      remarks.push(doubtful('', `a peak well below MemoryMax ${formatBytes(max)}`, next));
    }
    const throttled = eventsOf(last, 'high') - (after === null ? 0 : eventsOf(before, 'high'));
    if (throttled > 0) {
      const when = after === null ? 'since the start' : 'during the gate';
      const text = `throttled at MemoryHigh ${formatCount(throttled, 'time')} ${when}`;
      remarks.push(doubtful(text, 'usage below MemoryHigh', 'raise memory-high and memory-max'));
    }
    return checkOf(memory, remarks);
  },
};

function describeUnit(before: VerifyFacts, after: VerifyFacts | null): Remark {
  const first = before.unit.memory;
  if (first === null) return unclear('unit: no memory accounting');
  const last = after?.unit.memory ?? first;
  const peak = last.peakBytes === null ? '' : `, peak ${formatBytes(last.peakBytes)}`;
  return fine(`unit: ${fromTo(first.currentBytes, after && last.currentBytes)}${peak}`);
}

/** Resident memory, in which pages that processes share count for each of them. */
function describeProcesses({ processes, mainPid }: UnitFact): readonly Remark[] {
  const main = processes.find(({ pid }) => pid === mainPid);
  if (main === undefined) return [];
  const others = processes.filter(({ pid }) => pid !== mainPid);
  const sum = others.reduce((total, { residentBytes }) => total + residentBytes, 0);
  const rest =
    others.length === 0
      ? ''
      : `, ${formatCount(others.length, 'child', 'children')} ${formatBytes(sum)}`;
  return [fine(`resident: main ${formatBytes(main.residentBytes)}${rest}`)];
}

function judgeHost(before: VerifyFacts, after: VerifyFacts | null): Remark {
  const { memory } = (after ?? before).host;
  const used = fromTo(usedBytes(before.host.memory), after && usedBytes(after.host.memory));
  const seen = `host: ${used} of ${formatBytes(memory.totalBytes)} used`;
  return memory.availableBytes < memory.totalBytes * lowMemoryShare
    ? doubtful(seen, 'available memory on the host', 'check what else uses memory, or add swap')
    : fine(seen);
}

/** `212 MiB`, or `212 MiB before, 240 MiB after`. */
function fromTo(before: number, after: number | null): string {
  return after === null
    ? formatBytes(before)
    : `${formatBytes(before)} before, ${formatBytes(after)} after`;
}

const usedBytes = (memory: MemoryFact): number => memory.totalBytes - memory.availableBytes;
const eventsOf = (facts: VerifyFacts, name: string): number => facts.unit.memory?.events[name] ?? 0;
