import type { SettingsFact } from '../../model/facts/ledger.ts';
import { formatBytes } from '../../model/quantities.ts';
import {
  type CheckModule,
  checkOf,
  doubtful,
  fine,
  type Remark,
  unclear,
  wrong,
} from '../check.ts';
import { latest, type VerifyFacts } from '../evidence.ts';
import { showSetBy } from '../set-by.ts';
import { readLimit } from '../unit-values.ts';

/** MemoryMax and MemoryHigh as systemd enforces them. */
export const limits: CheckModule = {
  id: 'limits',
  title: 'memory limits',
  proves:
    'systemd enforces the MemoryMax and MemoryHigh of the inputs, or those that the release proved, whichever file sets them, and MemoryHigh has swap to reclaim to.',
  doesNotProve: 'That the limits fit the tasks.',
  judge(seen, desired) {
    const { unit, host, settings } = latest(seen);
    const max = readLimit(unit, 'MemoryMax');
    const high = readLimit(unit, 'MemoryHigh');
    const remarks = [
      judgeLimit('MemoryMax', max, desired.memoryMaxBytes, { unit, settings }),
      judgeLimit('MemoryHigh', high, desired.memoryHighBytes, { unit, settings }),
    ];
    if (max === null && remarks.every(({ verdict }) => verdict !== 'fail')) {
      const next = 'set memory-max in deploy-worker';
      remarks.push(
        doubtful('', 'a MemoryMax, so that a memory leak cannot take down the host', next),
      );
    }
    if (typeof high === 'number' && host.memory.swapTotalBytes === 0) {
      // MemoryHigh throttles and never kills; without swap there is nothing to reclaim to.
      const next = 'run provision, or remove MemoryHigh';
      remarks.push(doubtful('the host has no swap', 'swap, because MemoryHigh is set', next));
    }
    return checkOf(limits, remarks);
  },
};

/** Bytes; `null`: no limit; `undefined`: any. An input comes before what the release proved. */
function wish(
  property: 'MemoryMax' | 'MemoryHigh',
  input: number | null,
  settings: SettingsFact | null,
): number | null | undefined {
  if (input !== null) return input;
  const proved = settings?.properties[property];
  if (proved === 'infinity') return null;
  return proved !== undefined && /^\d+$/.test(proved) ? Number(proved) : undefined;
}

function judgeLimit(
  property: 'MemoryMax' | 'MemoryHigh',
  actual: number | null | undefined,
  input: number | null,
  { unit, settings }: Pick<VerifyFacts, 'unit' | 'settings'>,
): Remark {
  const desired = wish(property, input, settings);
  const seen =
    actual === undefined
      ? `${property} unknown`
      : actual === null
        ? `no ${property}`
        : `${property} ${formatBytes(actual)}`;
  if (actual === undefined && input === null) return unclear(seen);
  if (desired === undefined || actual === desired) return fine(seen);
  const where = showSetBy(unit, property);
  const next = 'remove the line that sets it, or deploy again';
  if (desired === null) return wrong(`${seen}${where}`, `no ${property}`, next);
  // Rounded sizes may look the same: show the bytes then.
  const wanted = `${property} ${formatBytes(desired)}`;
  const precise = typeof actual === 'number' && wanted === seen;
  return wrong(
    `${precise ? `${property} ${actual} bytes` : seen}${where}`,
    precise ? `${property} ${desired} bytes` : wanted,
    where === '' ? 'deploy again' : next,
  );
}
