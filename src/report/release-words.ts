import type { LedgerRelease, ReleasesFact } from '../model/facts/ledger.ts';
import type { ReleaseState } from '../model/soak.ts';

export const releaseStates: Readonly<Record<ReleaseState, string>> = {
  before: 'before Celeriac',
  awaiting: 'awaits its verdict',
  unproven: 'unproven',
  proven: 'proven',
  failed: 'failed',
  superseded: 'superseded',
  undone: 'rolled back',
};

/** The newest that was not rolled back; `null`: there is none. */
export function presentRelease({ releases }: ReleasesFact): LedgerRelease | null {
  return (
    releases.findLast(
      ({ transaction, verdict }) => transaction !== null && verdict !== 'rolled-back',
    ) ?? null
  );
}
