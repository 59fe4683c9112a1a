import { formatCount } from '../../model/quantities.ts';
import { type CheckModule, checkOf, doubtful, fine, type Remark, unknownCheck } from '../check.ts';
import { latest } from '../evidence.ts';

const counted = ['high', 'max', 'oom', 'oom_kill'] as const;

/** What the kernel counted at the limits of the unit. Kills are judged by the check `oom`. */
export const memoryEvents: CheckModule = {
  id: 'memory-events',
  title: 'events at the memory limits',
  proves:
    "The unit never reached MemoryMax (`max`, `oom` of memory.events) since its cgroup was created. A start begins with a new cgroup, so after a deploy that started the unit these are the deploy's own counts.",
  doesNotProve:
    'Anything about earlier starts. If a deploy did not have to restart the worker, earlier events count, too.',
  judge(seen) {
    const { unit } = latest(seen);
    if (unit.memory === null)
      return unknownCheck(memoryEvents, 'the unit has no memory accounting');
    const { events } = unit.memory;
    const earlier = seen.after === null ? null : (seen.before.unit.memory?.events ?? null);
    const count = (name: string): number => events[name] ?? 0;
    const shown = counted.map((name) => {
      const meanwhile = earlier === null ? 0 : count(name) - (earlier[name] ?? 0);
      return `${name} ${count(name)}${meanwhile > 0 ? ` (${meanwhile} during the gate)` : ''}`;
    });
    const remarks: Remark[] = [fine(`${shown.join(', ')} since the start`)];
    const next = 'raise memory-max, lower the concurrency, or reduce the memory use of tasks';
    if (count('max') > 0) {
      const reached = `reached MemoryMax ${formatCount(count('max'), 'time')}`;
      remarks.push(doubtful(reached, 'usage below MemoryMax', next));
    }
    if (count('oom') > count('oom_kill')) {
      remarks.push(
        doubtful('memory ran out at MemoryMax without a kill', 'usage below MemoryMax', next),
      );
    }
    return checkOf(memoryEvents, remarks);
  },
};
