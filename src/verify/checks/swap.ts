import { formatBytes } from '../../model/quantities.ts';
import { MiB } from '../../model/units.ts';
import { type CheckModule, checkOf, doubtful, fine, unknownCheck, wrong } from '../check.ts';
import { latest } from '../evidence.ts';

/** The kernel does not count the header page of a swap area; there may be several areas. */
const swapTolerance = MiB;

/** Swap is active and large enough. */
export const swap: CheckModule = {
  id: 'swap',
  title: 'swap',
  proves: 'Swap of at least the desired size is active.',
  doesNotProve: 'That it is fast enough for what is swapped.',
  judge(evidence, desired) {
    const { swap: areas, host } = latest(evidence);
    const total = areas.active.reduce((sum, area) => sum + area.sizeBytes, 0);
    const seen =
      areas.active.length === 0
        ? 'none'
        : areas.active
            .map(({ sizeBytes, path, priority }) => {
              return `${formatBytes(sizeBytes)} at ${path}, priority ${priority}`;
            })
            .join('; ');
    const wanted = desired.swapBytes;
    if (host.container !== null && total === 0) {
      const why = `none; in a container (${host.container}), only its host can enable swap`;
      return unknownCheck(swap, why, 'ask the provider for swap');
    }
    if (wanted !== null && total < wanted - swapTolerance) {
      return checkOf(swap, [wrong(seen, formatBytes(wanted), 'run provision')]);
    }
    if (total === 0) {
      return checkOf(swap, [doubtful(seen, 'active swap', 'run provision')]);
    }
    return checkOf(swap, [fine(seen)]);
  },
};
