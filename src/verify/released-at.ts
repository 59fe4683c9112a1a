import type { ReleasesFact } from '../model/facts.ts';
import type { EpochSeconds } from '../model/units.ts';

/**
 * Since when the present release runs, by the host's clock: the oldest of those that await their
 * verdict together, otherwise the newest that stayed; `null`: there is none.
 */
export function releasedAt({ releases, awaiting }: ReleasesFact): EpochSeconds | null {
  const open = new Set(awaiting?.transactions);
  const stayed = releases.filter(
    ({ transaction, verdict }) => transaction !== null && verdict !== 'rolled-back',
  );
  const first = stayed.find(({ transaction }) => transaction !== null && open.has(transaction));
  return (first ?? stayed.at(-1))?.at ?? null;
}
