import type { LedgerRelease } from '../../model/facts/ledger.ts';
import type { SoakComparison, SoakFigures } from '../../model/soak.ts';
import type { FigureName } from './figures.ts';

interface Row {
  readonly title: string;
  readonly unit: SoakComparison['unit'];
  /** `null`: neither more nor less is better. */
  readonly better: 'less' | 'more' | null;
  /** A smaller difference is noise, in the unit. */
  readonly noise?: number;
  /** Grows with the time that was looked at. */
  readonly adds?: boolean;
}

/** In the order of the table. The hours are no measure of a release. */
const rows: Readonly<Record<Exclude<FigureName, 'hours'>, Row>> = {
  memoryMedianBytes: { title: 'Memory of the worker, median', unit: 'bytes', better: 'less' },
  memoryPeakBytes: { title: 'Memory of the worker, maximum', unit: 'bytes', better: 'less' },
  mainMedianBytes: { title: 'Memory of the main process, median', unit: 'bytes', better: 'less' },
  childrenMedianBytes: {
    title: 'Memory of the child processes, median',
    unit: 'bytes',
    better: 'less',
  },
  swapPeakBytes: { title: 'Swap of the worker, maximum', unit: 'bytes', better: 'less' },
  oomKills: { title: 'Processes killed, out of memory', unit: 'count', better: 'less' },
  restarts: { title: 'Restarts by systemd', unit: 'count', better: 'less' },
  rateLimitedPerHour: { title: 'HTTP 429', unit: 'per-hour', better: 'less' },
  errorsPerHour: { title: 'Errors in the journal', unit: 'per-hour', better: 'less' },
  tracebacksPerHour: { title: 'Tracebacks in the journal', unit: 'per-hour', better: 'less' },
  errorSignatures: {
    title: 'Kinds of error in the journal',
    unit: 'count',
    better: 'less',
    adds: true,
  },
  // How much there is to do is not up to the release.
  tasksPerHour: { title: 'Tasks', unit: 'per-hour', better: null },
  longestQueue: { title: 'Waiting messages, maximum', unit: 'count', better: 'less' },
  latencySeconds: {
    title: 'Latency of a canary, median',
    unit: 'seconds',
    better: 'less',
    noise: 0.1,
  },
  oldestJobSeconds: { title: 'Oldest stuck job', unit: 'seconds', better: 'less' },
};

/** A smaller difference is none. */
const tolerance = 0.01;
/** Times that differ by less are about equal. */
const timeTolerance = 0.1;

/**
 * This release beside another one, in numbers that are known of at least one of them.
 *
 * @param before of the last proven release, as the ledger keeps them
 */
export function compareFigures(before: SoakFigures, now: SoakFigures): readonly SoakComparison[] {
  const { hours: timeBefore = null } = before;
  const { hours: timeNow = null } = now;
  const isEqualTime = areAboutEqual(timeBefore, timeNow);
  return Object.entries(rows).flatMap(([name, row]) => {
    const { title, unit, adds = false } = row;
    const [old = null, current = null] = [before[name], now[name]];
    if (old === null && current === null) return [];
    const trend = adds && !isEqualTime ? null : trendOf(old, current, row);
    return [{ title, unit, before: old, now: current, trend }];
  });
}

const areAboutEqual = (before: number | null, now: number | null): boolean =>
  before !== null && now !== null && Math.abs(now - before) <= before * timeTolerance;

function trendOf(
  before: number | null,
  now: number | null,
  { better, noise = 0 }: Row,
): SoakComparison['trend'] {
  if (before === null || now === null || better === null) return null;
  if (Math.abs(now - before) <= Math.max(Math.abs(before) * tolerance, noise)) return 'same';
  return now < before === (better === 'less') ? 'better' : 'worse';
}

/** The newest proven release below this one, which still stands; `null`: none. */
export function lastProven(
  releases: readonly LedgerRelease[],
  below: number,
): LedgerRelease | null {
  return releases.findLast(({ release, state }) => release < below && state === 'proven') ?? null;
}
