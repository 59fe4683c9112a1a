import type { TasksFact } from '../../model/facts.ts';
import {
  ancestorsOf,
  descendantsOf,
  type JobRow,
  mirrorAbove,
  shortId,
  taskOf,
} from '../tables/job-forest.ts';
import { isEnded } from '../tables/mapping.ts';
import type { StuckRow } from './staleness.ts';

/** What the worker and the broker reported about the tasks. */
export interface Evidence {
  /** With its suffix: `celery-worker.service`. */
  readonly unit: string;
  readonly worker: 'stopped' | 'answers';
  readonly owed: ReadonlySet<string>;
  readonly held: ReadonlySet<string>;
}

export function readEvidence(unit: string, fact: TasksFact & { kind: 'told' }): Evidence {
  return { unit, worker: fact.worker, owed: new Set(fact.owed), held: new Set(fact.held) };
}

export type Verdict =
  /** `why`: the evidence, for people; `null`: worker and broker were not asked. */
  | { readonly kind: 'dead'; readonly why: string | null }
  | { readonly kind: 'held' | 'owed'; readonly task: string };

/**
 * The tasks that keep a row alive: its own, and those of its mirror and of unfinished rows below it.
 * A row without a task id uses that of its nearest ancestor with one.
 */
export function tasksOf(row: JobRow): readonly string[] {
  const unit = [mirrorAbove(row), ...descendantsOf(row)].filter((each) => each !== null);
  const open = [row, ...unit.filter((each) => !isEnded(each.status))];
  const tasks = open.map((each) => [each, ...ancestorsOf(each)].map(taskOf).find(isNamed));
  return [...new Set(tasks.filter(isNamed))];
}

const isNamed = (task: string | null | undefined): task is string => typeof task === 'string';

/** All tasks to ask for before judging these rows and their ancestors. */
export function listTasks(found: readonly StuckRow[]): readonly string[] {
  const rows = new Set(found.flatMap(({ row }) => [row, ...ancestorsOf(row)]));
  return [...new Set([...rows].flatMap(tasksOf))];
}

/** Judges a row by the evidence; without evidence its age alone decides. */
export function judgeRow(row: JobRow, evidence: Evidence | null): Verdict {
  if (evidence === null) return { kind: 'dead', why: null };
  const tasks = tasksOf(row);
  const held = tasks.find((task) => evidence.held.has(task));
  if (held !== undefined) return { kind: 'held', task: held };
  const owed = tasks.find((task) => evidence.owed.has(task));
  if (owed !== undefined) return { kind: 'owed', task: owed };
  return { kind: 'dead', why: describeDeath(tasks, evidence) };
}

function describeDeath(tasks: readonly string[], { worker, unit }: Evidence): string {
  const stopped = worker === 'stopped' ? `${unit} is stopped` : null;
  const [first] = tasks;
  const lost =
    first === undefined
      ? 'it has no task id'
      : tasks.length === 1
        ? `task ${shortId(first)} is neither in a worker nor in a queue`
        : `its ${tasks.length} tasks are neither in a worker nor in a queue`;
  return [stopped, lost].filter((part) => part !== null).join(', ');
}
