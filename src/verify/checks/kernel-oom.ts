import type { KernelFact } from '../../model/facts/journal.ts';
import type { UnitFact } from '../../model/facts/unit.ts';
import { formatCount, formatInstant } from '../../model/quantities.ts';
import { type CheckModule, checkOf, fine, unknownCheck, wrong } from '../check.ts';
import { latest } from '../evidence.ts';
import { oom } from './oom.ts';

/** Kills anywhere on the host, from the kernel log. */
export const kernelOom: CheckModule = {
  id: 'kernel-oom',
  title: 'OOM kills by the kernel',
  proves:
    'The kernel log shows no kill for lack of memory anywhere on the host since the start of the unit, except at the limit of the unit itself, which `oom` covers.',
  doesNotProve: 'Anything if the kernel log is not readable, as in containers.',
  judge(evidence) {
    const { kernel, unit } = latest(evidence);
    if (!kernel.readable) {
      return unknownCheck(kernelOom, 'the kernel log is not readable here');
    }
    if (kernel.outOfMemory.length === 0) {
      return checkOf(kernelOom, [fine('none since the start of the unit')]);
    }
    const own = ownKills(kernel, unit);
    const lines = kernel.outOfMemory.map(({ at, message }) => `${formatInstant(at)} ${message}`);
    // One kill logs several lines, exactly one of which names the process.
    const named = kernel.outOfMemory.flatMap(({ message }) => killed.exec(message)?.[1] ?? []);
    const others = named.filter((pid) => !own.has(pid));
    if (named.length > 0 && others.length === 0) {
      const said = `none but ${formatCount(named.length, 'kill')} at the limit of the unit (check ${oom.id})`;
      return checkOf(kernelOom, [fine(said)], lines);
    }
    const kills = Math.max(1, others.length);
    const seen = `${formatCount(kills, 'kill')} since the start of the unit`;
    const next = 'check which process used the memory; add swap, or lower limits and concurrency';
    return checkOf(kernelOom, [wrong(seen, 'none', next)], lines);
  },
};

const killed = /[Kk]illed process (\d+)/;

/** Processes that were killed at the limit of the unit itself, if the check `oom` counts them. */
function ownKills({ outOfMemory }: KernelFact, { memory, name }: UnitFact): ReadonlySet<string> {
  if ((memory?.events.oom_kill ?? 0) === 0) return new Set();
  return new Set(
    outOfMemory.flatMap(({ message }) => {
      const [, group = '', pid = ''] =
        /constraint=CONSTRAINT_MEMCG.*oom_memcg=([^,]+),.*pid=(\d+)/.exec(message) ?? [];
      return group.split('/').includes(name) ? [pid] : [];
    }),
  );
}
