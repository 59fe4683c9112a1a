import { formatCount, formatInstant } from '../../report/quantities.ts';
import { type CheckModule, checkOf, fine, unknownCheck, wrong } from '../check.ts';
import { latest } from '../evidence.ts';

/** Kills anywhere on the host, from the kernel log. */
export const kernelOom: CheckModule = {
  id: 'kernel-oom',
  title: 'OOM kills by the kernel',
  proves:
    'The kernel log shows no kill for want of memory anywhere on the host since the start of the unit.',
  doesNotProve: 'Anything where the kernel log is not readable, as in containers.',
  judge(evidence) {
    const { kernel } = latest(evidence);
    if (!kernel.readable) {
      return unknownCheck(kernelOom, 'the kernel log is not readable here');
    }
    if (kernel.outOfMemory.length === 0) {
      return checkOf(kernelOom, [fine('none since the start of the unit')]);
    }
    const lines = kernel.outOfMemory.map(({ at, message }) => `${formatInstant(at)} ${message}`);
    // One kill logs several lines, exactly one of which names the process.
    const named = kernel.outOfMemory.filter(({ message }) => /[Kk]illed process \d+/.test(message));
    const kills = Math.max(1, named.length);
    const seen = `${formatCount(kills, 'kill')} since the start of the unit`;
    const next = 'check which process used the memory; add swap, or lower limits and concurrency';
    return checkOf(kernelOom, [wrong(seen, 'none', next)], lines);
  },
};
