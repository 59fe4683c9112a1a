import type { LedgerRelease, PlacedCode, TransactionFact } from '../../model/facts/ledger.ts';
import type { Sample } from '../../model/sample.ts';
import type {
  SoakFigures,
  SoakRecord,
  SoakReport,
  SoakVerdict,
  SoakWish,
} from '../../model/soak.ts';
import type { EpochSeconds } from '../../model/units.ts';
import { describeMovedCode } from '../placed-code.ts';
import { latencyOf, notLookedAt, type SoakBesides, settleBesides } from './besides.ts';
import { compareFigures, lastProven } from './compare.ts';
import { samplesSince } from './evidence.ts';
import { figuresOf } from './figures.ts';
import { judgeSoak } from './judge.ts';
import { settleLimits } from './limits.ts';

/** What the host remembers of a unit. */
export interface SoakMemory {
  readonly releases: readonly LedgerRelease[];
  readonly transactions: readonly Pick<TransactionFact, 'startedAt'>[];
  /** In the order in which the host wrote them. */
  readonly samples: readonly Sample[];
  readonly record: SoakRecord;
  /** The host's clock. */
  readonly now: EpochSeconds;
  /** Absent, `null`: no code is compared. */
  readonly code?: PlacedCode | null;
  /** Whether the host takes samples of the unit; absent: as long as it has some. */
  readonly sampling?: boolean;
}

/** The release that runs, and what is known of it. */
export interface JudgedRelease {
  /** `null`: no release of Celeriac runs. */
  readonly release: LedgerRelease | null;
  /** `null` unless it is unproven. */
  readonly verdict: SoakVerdict | null;
  readonly figures: SoakFigures | null;
  readonly comparison: SoakReport['comparison'];
}

/** The newest that was not undone. */
export const currentRelease = (releases: readonly LedgerRelease[]): LedgerRelease | null =>
  releases.findLast(({ state }) => state !== 'before' && state !== 'undone') ?? null;

/**
 * Judges the release that runs if it is unproven, and compares it with the last proven one.
 *
 * @param besides what is in no sample
 * @param wish of this run; it can have the soak longer and stricter than the deploy wanted it
 */
export function judgeRelease(
  memory: SoakMemory,
  wish: SoakWish,
  besides: SoakBesides = notLookedAt,
): JudgedRelease {
  const { releases, samples, now } = memory;
  const release = currentRelease(releases);
  if (release === null) return { release, verdict: null, figures: null, comparison: null };
  const compared = (
    verdict: SoakVerdict | null,
    figures: SoakFigures | null,
    notKnown = '',
  ): JudgedRelease => {
    const before = lastProven(releases, release.release);
    const comparison =
      figures === null || before === null || before.figures === null
        ? null
        : { release: before.release, rows: compareFigures(before.figures, figures), notKnown };
    return { release, verdict, figures, comparison };
  };
  if (release.state !== 'unproven') return compared(null, release.figures);
  const undone = releases.filter(({ state }) => state === 'undone').map(({ since }) => since);
  const evidence = {
    release: release.release,
    since: release.since,
    samples,
    // A rollback restarts the worker, too.
    transactions: [...memory.transactions.map(({ startedAt }) => startedAt), ...undone],
    now,
  };
  const { limits, notes } = settleLimits(wish, memory.record);
  const said = judgeSoak(evidence, limits);
  const judged = withhold({ ...said, notes: [...notes, ...said.notes] }, memory.code);
  const isOver = judged.state === 'unproven' && memory.sampling === false;
  const verdict = isOver ? { ...judged, earliestEnd: null } : judged;
  const { decidedAt } = verdict;
  const used = samplesSince(evidence).filter(({ at }) => decidedAt === null || at <= decidedAt);
  if (used.length === 0) return compared(verdict, null);
  const [numbers, notKnown] = settleBesides({ latencySeconds: latencyOf(release), ...besides });
  return compared(verdict, figuresOf(used, numbers), notKnown);
}

/** Time without failure proves nothing for code that may not be the release's. */
function withhold(verdict: SoakVerdict, code: SoakMemory['code']): SoakVerdict {
  const moved = describeMovedCode(code);
  if (moved === null || verdict.state === 'failed') return verdict;
  const { sentence } = verdict;
  const begin = verdict.state === 'proven' ? sentence.replace(/^Proven/, 'Unproven') : sentence;
  return {
    ...verdict,
    state: 'unproven',
    decidedAt: null,
    earliestEnd: null,
    sentence: `${begin.replace(/\.$/, '')}; it stays so while ${moved}.`,
  };
}
