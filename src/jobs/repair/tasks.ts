import { ConfigError } from '../../model/errors.ts';
import type { AwaitedTask, SqlValue, TaskCall } from '../../model/operation/jobs.ts';
import type { StoreValue } from '../../model/store-row.ts';
import { type Evidence, isAskable, tasksOf } from '../judge/liveness.ts';
import type { StuckRow } from '../judge/staleness.ts';
import { fitFor } from '../tables/fits.ts';
import {
  ancestorsOf,
  type JobForest,
  type JobRow,
  nameRow,
  rootOf,
  rowKey,
  showValue,
} from '../tables/job-forest.ts';
import { isExample, spellingsOf, spellLike } from '../tables/task-ids.ts';
import type { Fates, RepairRules } from './fate.ts';
import { hasDoneWork } from './situations.ts';

/** The whole tree of a job is changed, or none of it. */
export const groupOf = (row: JobRow): string => rowKey(rootOf(row));

/** The tasks that were found to be gone, in each of their spellings, for the second check. */
export function listGone(
  fates: Fates,
  wanted: ReadonlyMap<JobRow, StuckRow>,
  evidence: Evidence,
): readonly AwaitedTask[] {
  const seen = new Map<string, AwaitedTask>();
  for (const [row, fate] of fates) {
    if (fate.owed) continue;
    const group = groupOf(row);
    const tasks = tasksOf(row).flatMap(spellingsOf);
    const isUnknown = wanted.has(row) && !isAskable(row, evidence);
    for (const task of isUnknown ? [...tasks, null] : tasks) {
      seen.set(JSON.stringify([group, task]), { group, task });
    }
  }
  return [...seen.values()];
}

/**
 * The task calls that start reset rows again. Within a tree, the topmost reset row starts those below
 * it, so that nothing runs twice.
 */
export function chooseCalls(
  fates: Fates,
  { rows }: JobForest,
  { newTaskId }: RepairRules,
): ReadonlyMap<JobRow, TaskCall> {
  const sends = (row: JobRow): boolean => {
    const fate = fates.get(row);
    // The task of a parent would do again what is completed below it.
    return (
      fate?.becomes === 'pending' && !fate.owed && row.mapping.resend !== null && !hasDoneWork(row)
    );
  };
  const chosen = [...fates.keys()].filter(
    (row) => sends(row) && !ancestorsOf(row).some((above) => sends(above)),
  );
  const seen = new Map(
    [...new Set(chosen.map(({ mapping }) => mapping))].map((mapping) => {
      const own = rows.filter((row) => row.mapping === mapping);
      return [mapping, own.map((row) => row.values[mapping.task ?? '']).find(isExample)];
    }),
  );
  return new Map(chosen.map((row) => [row, callOf(row, newTaskId(), seen.get(row.mapping))]));
}

/** @param other an id of another row of the table */
function callOf(row: JobRow, id: string, other: StoreValue | undefined): TaskCall {
  const { table, id: key, task: column, resend } = row.mapping;
  if (resend === null || column === null) throw new RangeError(`${table} has no task to send`);
  const { task, args, queue } = resend;
  const values = args.map((name): SqlValue => {
    const value = name === key ? row.id : (row.values[name] ?? null);
    if (value === null || typeof value !== 'object') return value;
    throw new ConfigError(
      'input stores',
      `${nameRow(row)} has ${showValue(value)} in \`${name}\`, which cannot be a task argument`,
      '`resend` with columns of text or numbers',
    );
  });
  const example = isExample(row.values[column]) ? row.values[column] : other;
  const spelled = spellLike(id, example, fitFor(row.mapping, column).ids);
  if (spelled === null) {
    throw new ConfigError(
      'input stores',
      `\`${column}\` of ${table} holds task ids as binary data, which Celeriac cannot write`,
      'no `resend` for this table, or a column of text',
    );
  }
  return { id: spelled, task, args: values, queue, row: { table, key, id: row.id, column } };
}
