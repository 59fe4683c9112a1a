/** Why the host did not take the confirmation of a healthy release: what happened during the gate. */

import type { LedgerRelease } from '../model/facts/ledger.ts';

export type Unconfirmed =
  /** Another run has confirmed it. */
  | { readonly kind: 'confirmed'; readonly by: string }
  /** Another run has deployed: its gate decides about both. */
  | { readonly kind: 'replaced'; readonly by: LedgerRelease }
  | { readonly kind: 'rolled-back' };

/**
 * @param transactions of the release that was to be confirmed, newest first
 * @param releases of its unit after that, oldest first
 */
export function whyUnconfirmed(
  transactions: readonly string[],
  releases: readonly LedgerRelease[],
): Unconfirmed {
  const isOwn = ({ transaction }: LedgerRelease): boolean =>
    transaction !== null && transactions.includes(transaction);
  const newest = releases.findLast(({ transaction }) => transaction === transactions[0]);
  if (newest?.verdict === 'confirmed') return { kind: 'confirmed', by: newest.by };
  const standing = releases.filter(({ verdict }) => verdict !== 'rolled-back').at(-1);
  return newest?.verdict === 'none' && standing !== undefined && !isOwn(standing)
    ? { kind: 'replaced', by: standing }
    : { kind: 'rolled-back' };
}
