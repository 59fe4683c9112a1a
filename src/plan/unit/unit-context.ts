import type { FactAnswers } from '../../model/facts.ts';
import { bytes, type Seconds } from '../../model/units.ts';
import type { UnitContext } from '../../systemd/unit-rules.ts';
import { hasSwap } from '../limits/choose-limits.ts';
import { childBaseline } from '../limits/per-child.ts';
import { measureWorker } from '../limits/worker-size.ts';

/** What the rules need to know besides the unit. */
export function unitContext(
  { host, unit, swap }: Pick<FactAnswers, 'host' | 'unit' | 'swap'>,
  longestTaskSeconds: Seconds,
): UnitContext {
  const size = measureWorker(unit);
  return {
    swapActive: hasSwap({ host, swap }),
    longestTaskSeconds,
    cpus: host.cpus,
    hostMemoryBytes: host.memory.totalBytes,
    processes: size && {
      mainBytes: size.mainBytes,
      childBytes: bytes(Math.max(0, ...size.childrenBytes)),
      baselineBytes: childBaseline(size),
    },
  };
}
