import type { PastFact } from '../model/facts/ledger.ts';

/** That somebody changes the host just now, so that a look at it says little; empty: nobody does. */
export function describeAtWork({
  working,
  open,
}: Pick<PastFact, 'working' | 'open'>): readonly string[] {
  if (working === null) return [];
  const what = [...new Set(open.map(({ action, unit }) => `${action} of ${unit ?? 'the host'}`))];
  const about = what.length === 0 ? '' : ` (${what.join(', ')})`;
  return [
    `${working} is working on this host${about}: run this again once it has ended, as the state may be in between.`,
  ];
}
