import { formatCount } from '../../model/quantities.ts';
import { type CheckModule, checkOf, fine, unknownCheck, wrong } from '../check.ts';
import { latest } from '../evidence.ts';

/** Kills in the unit's own cgroup. */
export const oom: CheckModule = {
  id: 'oom',
  title: 'OOM kills of the unit',
  proves:
    'The kernel killed no process of the unit for lack of memory since its cgroup was created.',
  doesNotProve: 'Anything about earlier starts: a restart begins with a new cgroup and new counts.',
  judge(seen) {
    const { unit } = latest(seen);
    if (unit.memory === null) {
      return unknownCheck(oom, 'the unit has no memory accounting');
    }
    const kills = unit.memory.events.oom_kill ?? 0;
    if (kills === 0) return checkOf(oom, [fine('none since the start')]);
    const events = Object.entries(unit.memory.events).map(([name, count]) => `${name} ${count}`);
    const next = 'raise memory-max, lower the concurrency, or reduce the memory use of tasks';
    const remark = wrong(`${formatCount(kills, 'process', 'processes')} killed`, 'none', next);
    return checkOf(oom, [remark], [`memory.events: ${events.join(', ')}`]);
  },
};
