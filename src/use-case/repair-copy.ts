import type { CleanUpDesired } from '../config/cleanup-desired.ts';
import { statusesOf } from '../jobs/judge/dead-rows.ts';
import type { Evidence } from '../jobs/judge/liveness.ts';
import type { StuckRows } from '../jobs/judge/staleness.ts';
import type { PlannedRepair } from '../jobs/repair/clean-up-plan.ts';
import { refuseForeignLabels, refuseForeignWords } from '../jobs/repair/foreign-words.ts';
import { planRepair } from '../jobs/repair/repair.ts';
import { describeSkipped } from '../jobs/tables/include-table.ts';
import { doubtfulOf } from '../jobs/tables/job-tables.ts';
import { describeMapping } from '../jobs/tables/mapping.ts';
import { ConfigError } from '../model/errors.ts';
import type { Finding } from '../model/operation.ts';
import { formatCount } from '../model/quantities.ts';
import type { Rehearsal } from '../model/store-row.ts';
import type { StoreCopy } from './copy-stores.ts';

/**
 * Decides what becomes of the stuck jobs of a database, and rehearses that on its copy.
 *
 * @param resets how often each job was reset before
 * @throws ConfigError when the database would not allow it
 */
export async function repairCopy(
  copy: StoreCopy,
  found: StuckRows,
  evidence: Evidence | null,
  resets: Readonly<Record<string, number>>,
  newTaskId: () => string,
  desired: CleanUpDesired,
): Promise<PlannedRepair> {
  const { database, user, store, forest, takenAt, holds } = copy;
  const { action, runUrl, maxResets, deleteCompleted } = desired;
  refuseForeignLabels(database, forest);
  const statuses = statusesOf(forest, desired);
  const limits = { resets, maxResets, deleteCompleted };
  const rules = { action, now: takenAt, statuses, runUrl, evidence, ...limits, newTaskId };
  const repair = planRepair(forest, found.stuck, rules, found.left);
  refuseForeignWords(database, forest, repair.changes);
  const tried = repair.changes.length > 0 ? await store.rehearse(repair.changes) : null;
  const problems = tried?.problems ?? [];
  if (problems.length > 0) {
    throw new ConfigError(
      'input action',
      `${action} failed on a copy of ${database}: ${problems.slice(0, 5).join('; ')}`,
      'an action that the database allows; nothing was changed on the host',
    );
  }
  const triggered = tried === null ? [] : tellTriggered(tried.triggered);
  const told = [...copy.findings, ...found.findings, ...repair.findings, ...triggered];
  const findings = told.map((finding) => ({
    where: database,
    ...finding,
  }));
  const lines = [
    ...describeMapping(forest.mapping, copy.verdicts),
    ...describeSkipped(database, doubtfulOf(copy.verdicts)),
  ];
  return { database, user, lines, holds, repair, findings };
}

/** The app's own triggers act on a repair as on any change; whoever approves it should know. */
function tellTriggered({ rows, triggers }: Rehearsal['triggered']): readonly Finding[] {
  if (triggers.length === 0) return [];
  const names = triggers.length === 1 ? 'the trigger' : 'the triggers';
  const effect =
    rows <= 0
      ? 'would run, and change no rows'
      : `would make ${formatCount(rows, 'more change')}, which \`restore\` does not undo`;
  const message = `${names} ${triggers.join(', ')} of the database ${effect}`;
  return [{ level: 'notice', message }];
}
