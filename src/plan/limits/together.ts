import type { FactAnswers } from '../../model/facts.ts';
import type { Finding } from '../../model/operation.ts';
import { formatBytes } from '../../model/quantities.ts';
import { type Bytes, bytes } from '../../model/units.ts';
import { readHostMemory } from './host-memory.ts';
import { limitedSlice, listReservations } from './reservations.ts';

/**
 * Warns if the limits of all services together are more than the memory of the host: each may be
 * within its limit while the host runs out.
 *
 * @param memoryMaxBytes the limit that the unit will have; `null`: none
 */
export function compareTogether(
  facts: Pick<FactAnswers, 'host' | 'unit' | 'limits'>,
  memoryMaxBytes: Bytes | null,
): readonly Finding[] {
  const { host, unit, limits } = facts;
  const memory = readHostMemory(host, limits);
  const others = listReservations(limits);
  if (memory.kind === 'unknown' || memoryMaxBytes === null || others.length === 0) return [];
  const slice = limitedSlice(unit.properties.Slice ?? '', limits);
  const own = slice ?? { name: unit.name, memoryMaxBytes };
  const all = [own, ...others.filter(({ name }) => name !== own.name)];
  const sum = bytes(all.reduce((total, each) => total + each.memoryMaxBytes, 0));
  if (all.length === 1 || sum <= memory.totalBytes) return [];
  const terms = all.map((each) => `${each.name} ${formatBytes(each.memoryMaxBytes)}`).join(' + ');
  return [
    {
      level: 'warning',
      message: `the memory limits of ${all.length} units together are ${formatBytes(sum)} (${terms}), more than the host has (${formatBytes(memory.totalBytes)}): it can run out of memory while each of them is within its limit`,
    },
  ];
}
