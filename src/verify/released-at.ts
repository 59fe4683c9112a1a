import type { LedgerRelease, ReleasesFact } from '../model/facts/ledger.ts';
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

/**
 * Since when the journal is of the present release: from its own start on, which is before it is
 * recorded. After a rollback of a later one, from the present start on; what is between was that
 * one's.
 */
export function loggedSince(fact: ReleasesFact, started: EpochSeconds | null): EpochSeconds | null {
  const at = releasedAt(fact);
  if (at === null || started === null) return started ?? at;
  const rolledBack = fact.releases.some(
    ({ verdict, at: when }) => verdict === 'rolled-back' && when > at,
  );
  return rolledBack || started < at ? started : at;
}

/**
 * Since when a release that stayed has run without another one, and so what began after that is its own:
 * from before its gate on, or from the rollback of a later one on.
 */
export function ranSince(release: LedgerRelease, releases: readonly LedgerRelease[]): EpochSeconds {
  const cameBack = releases.some(
    (each) => each.release > release.release && each.verdict === 'rolled-back',
  );
  return cameBack ? release.since : release.at;
}
