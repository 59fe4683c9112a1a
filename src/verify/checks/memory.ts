import type { VerifyDesired } from '../../config/verify-desired.ts';
import type { MemoryFact } from '../../model/facts.ts';
import { MiB } from '../../model/units.ts';
import type { Check } from '../../model/verdict.ts';
import { formatBytes, formatCount, formatInstant } from '../../report/quantities.ts';
import { checkOf, doubtful, fine, type Remark, skippedCheck, wrong } from '../check.ts';
import type { VerifyFacts } from '../evidence.ts';
import { readLimit } from './unit.ts';

/** The kernel does not count the header page of a swap area; there may be several areas. */
const swapTolerance = MiB;
/** Below this share of available memory, a host is about to run out. */
const lowMemoryShare = 0.05;
/** A peak above this share of MemoryMax is too close to the limit. */
const highPeakShare = 0.95;

/** Swap is active and large enough. */
export function checkSwap({ swap, host }: VerifyFacts, desired: VerifyDesired): Check {
  const total = swap.active.reduce((sum, area) => sum + area.sizeBytes, 0);
  const seen =
    swap.active.length === 0
      ? 'none'
      : swap.active
          .map(({ sizeBytes, path, priority }) => {
            return `${formatBytes(sizeBytes)} at ${path}, priority ${priority}`;
          })
          .join('; ');
  const wanted = desired.swapBytes;
  if (host.container !== null && total === 0) {
    const why = `none; in a container (${host.container}), only its host can enable swap`;
    return skippedCheck('swap', 'swap', why, 'ask the provider for swap');
  }
  if (wanted !== null && total < wanted - swapTolerance) {
    return checkOf('swap', 'swap', [wrong(seen, formatBytes(wanted), 'run provision')]);
  }
  if (total === 0) {
    return checkOf('swap', 'swap', [doubtful(seen, 'active swap', 'run provision')]);
  }
  return checkOf('swap', 'swap', [fine(seen)]);
}

/** Memory of the unit and of the host: before the probes, at its peak, after them. */
export function checkMemory(before: VerifyFacts, after: VerifyFacts | null): Check {
  const last = after ?? before;
  const remarks: Remark[] = [describeUnit(before, after), judgeHost(before, after)];
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
  return checkOf('memory', 'memory', remarks);
}

/** Kills in the unit's own cgroup. */
export function checkUnitOom({ unit }: VerifyFacts): Check {
  if (unit.memory === null) {
    return skippedCheck('oom', 'OOM kills of the unit', 'the unit has no memory accounting');
  }
  const kills = unit.memory.events.oom_kill ?? 0;
  if (kills === 0) return checkOf('oom', 'OOM kills of the unit', [fine('none since the start')]);
  const events = Object.entries(unit.memory.events).map(([name, count]) => `${name} ${count}`);
  const next = 'raise memory-max, lower the concurrency, or reduce the memory use of tasks';
  const remark = wrong(`${formatCount(kills, 'process', 'processes')} killed`, 'none', next);
  return checkOf('oom', 'OOM kills of the unit', [remark], [`memory.events: ${events.join(', ')}`]);
}

/** Kills anywhere on the host, from the kernel log. */
export function checkKernelOom({ kernel }: VerifyFacts): Check {
  const title = 'OOM kills by the kernel';
  if (!kernel.readable) {
    return skippedCheck('kernel-oom', title, 'the kernel log is not readable here');
  }
  if (kernel.outOfMemory.length === 0) {
    return checkOf('kernel-oom', title, [fine('none since the start of the unit')]);
  }
  const lines = kernel.outOfMemory.map(({ at, message }) => `${formatInstant(at)} ${message}`);
  // One kill logs several lines, exactly one of which names the process.
  const named = kernel.outOfMemory.filter(({ message }) => /[Kk]illed process \d+/.test(message));
  const kills = Math.max(1, named.length);
  const seen = `${formatCount(kills, 'kill')} since the start of the unit`;
  const next = 'check which process used the memory; add swap, or lower limits and concurrency';
  return checkOf('kernel-oom', title, [wrong(seen, 'none', next)], lines);
}

function describeUnit(before: VerifyFacts, after: VerifyFacts | null): Remark {
  const first = before.unit.memory;
  if (first === null) return fine('unit: no memory accounting');
  const last = after?.unit.memory ?? first;
  const peak = last.peakBytes === null ? '' : `, peak ${formatBytes(last.peakBytes)}`;
  return fine(`unit: ${fromTo(first.currentBytes, after && last.currentBytes)}${peak}`);
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
