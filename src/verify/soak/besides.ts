import type { LoggedFact } from '../../model/facts/journal.ts';
import type { LedgerRelease } from '../../model/facts/ledger.ts';
import type { SoakFigures } from '../../model/soak.ts';
import type { EpochSeconds } from '../../model/units.ts';
import type { GateResult } from '../evidence.ts';
import type { FiguresBesides } from './figures.ts';
import { median } from './leak.ts';

/** A number, or why it is not known: a clause that follows "because". */
export type Known = { readonly value: number } | { readonly why: string };

/** What is compared, but is in no sample. */
export interface SoakBesides {
  readonly errorSignatures: Known;
  readonly oldestJobSeconds: Known;
}

/** For a look that reads neither the journal nor the jobs. */
export const notLookedAt: SoakBesides = {
  errorSignatures: { why: 'this run did not read the journal' },
  oldestJobSeconds: { why: 'this run did not look for stuck jobs' },
};

/**
 * What the ledger keeps of a gate. Only of canaries: they do nothing, so that their latency is the same
 * measure in each release; tasks and requests of the app take as long as their work.
 */
export function gateFigures(gate: GateResult): SoakFigures {
  if (gate.kind !== 'sent') return {};
  const canaries = gate.runs.filter(({ request }) => request.request.kind === 'canary');
  const times = canaries.flatMap(({ result }) =>
    result.kind === 'report' && result.report.ok
      ? result.report.jobs.map((job) => job.seconds)
      : [],
  );
  return times.length === 0 ? {} : { latencySeconds: Math.round(median(times) * 1000) / 1000 };
}

/** Of the gate that confirmed the release. */
export function latencyOf({ gateFigures: figures }: LedgerRelease): Known {
  const value = figures?.latencySeconds ?? null;
  return value === null ? { why: 'no gate of canaries confirmed this release' } : { value };
}

/** How many kinds of error were logged from `since` on, and until the verdict if there is one. */
export function signaturesOf(
  logged: Pick<LoggedFact, 'signatures' | 'moreSignatures' | 'complete' | 'earlier' | 'since'>,
  since: EpochSeconds,
  decidedAt: EpochSeconds | null = null,
): Known {
  if (logged.since === null || logged.since > since) {
    return { why: 'the journal was not read from the beginning of the soak on' };
  }
  if (!logged.complete) return { why: 'the journal has more lines than are read' };
  // Without a line from before, the beginning may be lost.
  if (logged.earlier === null || logged.earlier === 0) {
    return { why: 'nothing shows that the journal reaches back to the beginning of the soak' };
  }
  if (logged.moreSignatures > 0) return { why: 'there are more kinds of error than are counted' };
  const end = decidedAt ?? Number.POSITIVE_INFINITY;
  const kinds = logged.signatures.filter(({ first, last }) => last >= since && first <= end);
  return { value: kinds.length };
}

const names: Readonly<Record<keyof Required<FiguresBesides>, string>> = {
  latencySeconds: 'the latency of canaries',
  errorSignatures: 'the kinds of error',
  oldestJobSeconds: 'the oldest stuck job',
};

/** The numbers, and one line about those that are not known; empty: all are. */
export function settleBesides(
  known: Readonly<Record<keyof typeof names, Known>>,
): readonly [figures: FiguresBesides, notKnown: string] {
  const figures: FiguresBesides = Object.fromEntries(
    Object.entries(known).map(([name, each]) => [name, 'value' in each ? each.value : null]),
  );
  const missing = Object.entries(known).flatMap(([name, each]) =>
    'why' in each ? [`${names[name as keyof typeof names]}, because ${each.why}`] : [],
  );
  return [figures, missing.length === 0 ? '' : `Unknown for this release: ${missing.join('; ')}.`];
}
