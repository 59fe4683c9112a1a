import { ConfigError } from '../model/errors.ts';
import type { Bytes } from '../model/units.ts';
import { printSize } from './quantities.ts';

/**
 * A soft limit is only reached below the hard one.
 *
 * @param none how to have no soft limit
 * @throws ConfigError for a soft limit that is not below it
 */
export function refuseMemoryHigh(high: Bytes | null, max: Bytes | null, none: string): void {
  if (high === null || max === null || high < max) return;
  throw new ConfigError(
    'input memory-high',
    `\`memory-high\` (${printSize(high)}) is not below \`memory-max\` (${printSize(max)})`,
    `less than ${printSize(max)}, or ${none}`,
    { because: ['memory-max'] },
  );
}
