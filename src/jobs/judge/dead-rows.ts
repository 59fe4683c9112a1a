import type { CleanUpDesired } from '../../config/cleanup-desired.ts';
import type { Finding } from '../../model/operation.ts';
import type { EpochSeconds } from '../../model/units.ts';
import { descendantsOf, type JobForest, shortId, taskOf } from '../tables/job-forest.ts';
import { doubtfulOf, type TableVerdict } from '../tables/job-tables.ts';
import { meaningOf } from '../tables/mapping.ts';
import type { LeftRow } from '../tables/skipped-rows.ts';
import { canonicalTask } from '../tables/task-ids.ts';
import { type Evidence, judgeRow } from './liveness.ts';
import type { RecordedStop } from './recorded-stop.ts';
import {
  findStuckRows,
  refuseEndedStatuses,
  type StuckRow,
  type StuckRows,
  selectNamed,
} from './staleness.ts';
import { findTaskLag, warnOfTaskLag } from './zone-lag.ts';

/** A job database as it was read. */
export interface ReadStore {
  readonly forest: JobForest;
  /** By the host's clock. */
  readonly takenAt: EpochSeconds;
  /** Which of its tables hold jobs. */
  readonly verdicts: readonly TableVerdict[];
  /** Its times may be read in a zone in which they are too old: a warning where any row looks stuck. */
  readonly lag: Finding | null;
}

export const noneStuck: StuckRows = { stuck: [], left: [], findings: [] };

/**
 * The rows selected by id, otherwise those without a sign of life.
 *
 * @param stop a recorded stop: those without a sign of life since then
 */
export function findStuck(
  copies: readonly ReadStore[],
  stopped: boolean,
  desired: CleanUpDesired,
  stop: RecordedStop | null = null,
): readonly StuckRows[] {
  const { thresholdSeconds, orphans, ids } = desired;
  if (ids.length > 0) {
    const forests = copies.map((copy) => copy.forest);
    const doubtful = doubtfulOf(copies.flatMap(({ verdicts }) => verdicts));
    return selectNamed(forests, ids, doubtful).map((stuck) => ({ ...noneStuck, stuck }));
  }
  return copies.map(({ forest, takenAt, lag }) => {
    const statuses = statusesOf(forest, desired);
    refuseEndedStatuses(statuses);
    const rules = { now: takenAt, thresholdSeconds, statuses, orphans, stopped };
    const found = findStuckRows(forest, stop === null ? rules : { ...rules, stoppedAt: stop.at });
    return lag === null || found.stuck.length === 0
      ? found
      : { ...found, findings: [...found.findings, lag] };
  });
}

/** Including Celeriac's words: the user may use those of the app. */
export function statusesOf(forest: JobForest, { statuses }: CleanUpDesired): readonly string[] {
  const meant = forest.mapping.flatMap((table) => statuses.map((word) => meaningOf(table, word)));
  return [...new Set([...statuses, ...meant])];
}

/** The rows whose tasks are neither in a worker nor in the broker. */
export function judgeByEvidence(
  found: StuckRows,
  evidence: Evidence,
  desired: CleanUpDesired,
): StuckRows {
  const dead: StuckRow[] = [];
  const alive: LeftRow[] = [];
  const skip = ({ row, reason }: StuckRow, why: string, because: string): void => {
    const level = reason === 'named' ? 'warning' : 'notice';
    alive.push({ row, why, says: { because }, level });
  };
  for (const one of found.stuck) {
    const verdict = judgeRow(one.row, evidence);
    if (verdict.kind === 'dead') dead.push({ ...one, evidence: verdict.why });
    else if (one.reason === 'waiting') continue;
    else if (verdict.kind === 'unknown') skip(one, 'nobody can be asked', verdict.why);
    else if (verdict.kind === 'held')
      skip(one, 'still running', `a worker holds task ${shortId(verdict.task)}`);
    else if (one.reason === 'named' && desired.action === 'reset')
      dead.push({ ...one, owed: true });
    else skip(one, 'still waiting', `task ${shortId(verdict.task)} is in the broker`);
  }
  const lag = readTaskLag(found.stuck, evidence, desired.timeZone);
  const findings = lag === null ? found.findings : [...found.findings, lag];
  return { stuck: dead, left: [...found.left, ...alive], findings };
}

/** A row looks stuck, and a worker began its task just then: a warning of the zone; `null`: there is none. */
function readTaskLag(
  stuck: readonly StuckRow[],
  { begun }: Evidence,
  timeZone: string,
): Finding | null {
  if (begun === undefined || begun.size === 0) return null;
  for (const row of stuck.flatMap(({ row: top }) => [top, ...descendantsOf(top)])) {
    const task = taskOf(row);
    const at = task === null ? undefined : begun.get(canonicalTask(task));
    const newest = at === undefined ? null : findTaskLag(row, at, timeZone);
    if (newest !== null) return warnOfTaskLag(newest, { timeZone });
  }
  return null;
}
