import type { AwaitedTask, RowChange, TaskCall } from '../../model/operation/jobs.ts';
import type { Finding } from '../../model/operation.ts';
import { findAgeless, type StuckRow } from '../judge/staleness.ts';
import type { JobForest } from '../tables/job-forest.ts';
import { type LeftRow, reportLeft } from '../tables/skipped-rows.ts';
import { listGroups, type RepairedRow } from './changes.ts';
import { countAgain } from './counters.ts';
import { decide } from './decide.ts';
import type { Deciding, Fates, RepairRules } from './fate.ts';
import { endWaiting } from './fates.ts';
import {
  reportEndedOrphans,
  reportNamedByOthers,
  reportUnfinished,
  warnOfReset,
} from './findings.ts';
import { chooseCalls, groupOf, listGone } from './tasks.ts';

export interface Repair {
  /** Groups one after another, children before parents. */
  readonly changes: readonly RowChange[];
  /** For people, parents before children; one for each change except `keep`. */
  readonly rows: readonly RepairedRow[];
  /** Tasks to send for reset rows; each belongs to the group of its row. */
  readonly calls: readonly (TaskCall & { readonly group: string })[];
  /** Tasks that must still be gone when the group is changed. */
  readonly tasks: readonly AwaitedTask[];
  readonly findings: readonly Finding[];
  /** How many rows it skips although they look stuck. */
  readonly skipped: number;
}

/**
 * Plans the repair of the rows that were found and their related rows, and nothing else.
 *
 * `fail` and `reset` include the unfinished rows below and the row's mirror, as does `delete`; rows
 * below that have ended stay as they are. Each change carries the values that were read, so that the host changes the row only if
 * they are the same; the whole tree of a job is one group.
 *
 * @param left rows to skip, whatever becomes of related rows
 */
export function planRepair(
  forest: JobForest,
  stuck: readonly StuckRow[],
  rules: RepairRules,
  left: readonly LeftRow[] = [],
): Repair {
  const fates: Fates = new Map();
  const wanted = new Map(stuck.map((found) => [found.row, found]));
  const deciding: Deciding = {
    rules,
    forest,
    fates,
    wanted,
    left: [...left],
    spared: new Set(left.flatMap(({ row, yields }) => (yields ? [] : [row]))),
    findings: [],
    ageless: findAgeless(forest, rules.now),
    endedOrphans: new Map(),
    unfinished: new Map(),
  };
  // Parents come first: rows below a stuck row share its fate.
  for (const found of stuck) decide(found, deciding);
  endWaiting(deciding);
  const sent = chooseCalls(fates, forest, rules);
  const counters = countAgain(fates);
  const groups = listGroups(forest, fates, counters, sent, rules);
  return {
    changes: groups.flat().map(({ change }) => change),
    rows: groups.flatMap((group) => group.toReversed().flatMap(({ shown }) => shown ?? [])),
    calls: [...sent].map(([row, call]) => ({ ...call, group: groupOf(row) })),
    tasks: rules.evidence === null ? [] : listGone(fates, wanted, rules.evidence),
    findings: [
      ...reportLeft(deciding.left, {
        changed: (row) => fates.has(row),
        counted: (row) => counters.has(row),
      }),
      ...deciding.findings,
      ...reportEndedOrphans(deciding.endedOrphans),
      ...reportUnfinished(deciding.unfinished),
      ...reportNamedByOthers(fates),
      ...warnOfReset(fates, sent),
    ],
    skipped: countSkipped(deciding),
  };
}

function countSkipped({ left, fates, unfinished }: Deciding): number {
  const rows = new Set(left.flatMap(({ row }) => (fates.has(row) ? [] : [row])));
  return [...unfinished.values()].reduce((sum, count) => sum + count, rows.size);
}
