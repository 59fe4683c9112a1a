import type { CleanUpDesired } from '../../config/cleanup-desired.ts';
import type { EpochSeconds } from '../../model/units.ts';
import { type JobForest, shortId } from '../tables/job-forest.ts';
import { doubtfulOf, type TableVerdict } from '../tables/job-tables.ts';
import type { LeftRow } from '../tables/left-alone.ts';
import { meaningOf } from '../tables/mapping.ts';
import { type Evidence, judgeRow } from './liveness.ts';
import {
  findStuckRows,
  refuseEndedStatuses,
  type StuckRow,
  type StuckRows,
  selectNamed,
} from './staleness.ts';

/** A job database as it was read. */
export interface ReadStore {
  readonly forest: JobForest;
  /** By the host's clock. */
  readonly takenAt: EpochSeconds;
  /** What its tables were taken for. */
  readonly verdicts: readonly TableVerdict[];
}

export const noneStuck: StuckRows = { stuck: [], left: [], findings: [] };

/** Named rows and nothing else, or those that show no sign of life. */
export function findStuck(
  copies: readonly ReadStore[],
  stopped: boolean,
  desired: CleanUpDesired,
): readonly StuckRows[] {
  const { thresholdSeconds, orphans, ids } = desired;
  if (ids.length > 0) {
    const forests = copies.map((copy) => copy.forest);
    const doubtful = doubtfulOf(copies.flatMap(({ verdicts }) => verdicts));
    return selectNamed(forests, ids, doubtful).map((stuck) => ({ ...noneStuck, stuck }));
  }
  return copies.map(({ forest, takenAt }) => {
    const statuses = statusesOf(forest, desired);
    refuseEndedStatuses(statuses);
    return findStuckRows(forest, { now: takenAt, thresholdSeconds, statuses, orphans, stopped });
  });
}

/** In our words: a person may ask by the app's. */
export function statusesOf(forest: JobForest, { statuses }: CleanUpDesired): readonly string[] {
  const meant = forest.mapping.flatMap((table) => statuses.map((word) => meaningOf(table, word)));
  return [...new Set([...statuses, ...meant])];
}

/** The rows that nobody holds and nobody waits for. */
export function judgeByEvidence(
  found: StuckRows,
  evidence: Evidence,
  desired: CleanUpDesired,
): StuckRows {
  const dead: StuckRow[] = [];
  const alive: LeftRow[] = [];
  const leave = ({ row, reason }: StuckRow, because: string): void => {
    const level = reason === 'named' ? 'warning' : 'notice';
    alive.push({ row, why: 'they live', says: { because }, level });
  };
  for (const one of found.stuck) {
    const verdict = judgeRow(one.row, evidence);
    if (verdict.kind === 'dead') dead.push({ ...one, evidence: verdict.why });
    else if (verdict.kind === 'held') leave(one, `a worker holds task ${shortId(verdict.task)}`);
    else if (one.reason === 'named' && desired.action === 'reset')
      dead.push({ ...one, owed: true });
    else leave(one, `task ${shortId(verdict.task)} still waits in the broker`);
  }
  return { stuck: dead, left: [...found.left, ...alive], findings: found.findings };
}
