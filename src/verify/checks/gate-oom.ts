import { formatCount } from '../../model/quantities.ts';
import { type CheckModule, checkOf, fine, unknownCheck, wrong } from '../check.ts';
import { aroundGate, notComparable, restartedIn } from '../gate-effects.ts';

/** Kills for lack of memory while the probes of the gate ran. */
export const gateOom: CheckModule = {
  id: 'gate-oom',
  title: 'gate: OOM kills',
  proves: 'The kernel killed no process of the unit for lack of memory during the gate.',
  doesNotProve: 'That larger jobs do not need more memory.',
  judge(seen) {
    const around = aroundGate(seen);
    if (around === null) return [];
    const [before, after] = [around.before.unit.memory, around.after.unit.memory];
    if (before === null || after === null) {
      return unknownCheck(gateOom, 'the unit has no memory accounting');
    }
    if (restartedIn(around)) return notComparable(gateOom);
    const kills = (after.events.oom_kill ?? 0) - (before.events.oom_kill ?? 0);
    if (kills <= 0) return checkOf(gateOom, [fine('none')]);
    const next = 'raise memory-max, lower the concurrency, or reduce the memory use of tasks';
    const killed = `${formatCount(kills, 'process', 'processes')} killed`;
    return checkOf(gateOom, [wrong(killed, 'none', next)]);
  },
};
