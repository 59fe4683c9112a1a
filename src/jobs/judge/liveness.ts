import type { TasksFact } from '../../model/facts/broker.ts';
import { formatCount } from '../../model/quantities.ts';
import type { EpochSeconds } from '../../model/units.ts';
import {
  ancestorsOf,
  descendantsOf,
  type JobRow,
  mirrorAbove,
  shortId,
  taskOf,
} from '../tables/job-forest.ts';
import { isEnded } from '../tables/mapping.ts';
import { canonicalTask, isUuid } from '../tables/task-ids.ts';
import { describeSame, hasAllRows, isIncomplete } from './expected-rows.ts';
import type { RecordedStop } from './recorded-stop.ts';
import type { StuckRow } from './staleness.ts';

/** What the worker and the broker reported about the tasks. */
export interface Evidence {
  /** With its suffix: `celery-worker.service`. */
  readonly unit: string;
  readonly worker: 'stopped' | 'answers';
  /** Ids as Celery writes them. */
  readonly owed: ReadonlySet<string>;
  readonly held: ReadonlySet<string>;
  /** When a worker began a task that it runs, as far as it says. */
  readonly begun?: ReadonlyMap<string, EpochSeconds>;
  /** How many tasks workers hold in all, and how many messages wait in the broker. */
  readonly holding: number;
  readonly waiting: number;
  /** Why a task that no worker holds may still be queued; `null`: the broker shows that it is not. */
  readonly hidden: string | null;
  /** The rows were found by this stop, not by their age. */
  readonly stop?: RecordedStop;
}

export function readEvidence(
  unit: string,
  fact: TasksFact & { kind: 'told' },
  stop: RecordedStop | null = null,
): Evidence {
  const { worker, holding, waiting, hidden } = fact;
  const [owed, held] = [fact.owed, fact.held].map((ids) => new Set(ids.map(canonicalTask)));
  const tasks = { owed: owed ?? new Set<string>(), held: held ?? new Set<string>() };
  const begun = new Map(
    Object.entries(fact.begun ?? {}).map(([id, at]) => [canonicalTask(id), at] as const),
  );
  return {
    unit,
    worker,
    ...tasks,
    begun,
    holding,
    waiting,
    hidden,
    ...(stop !== null && { stop }),
  };
}

export type Verdict =
  /** `why`: the evidence, for people; `null`: worker and broker were not asked. */
  | { readonly kind: 'dead'; readonly why: string | null }
  | { readonly kind: 'held' | 'owed'; readonly task: string }
  /** It names no task, so any of those that are left may be its own; or the broker shows no ids. */
  | { readonly kind: 'unknown'; readonly why: string };

/** The rows whose tasks keep a row alive: itself, its mirror, and unfinished rows below it. */
function openUnit(row: JobRow): readonly JobRow[] {
  const unit = [mirrorAbove(row), ...descendantsOf(row)].filter((each) => each !== null);
  return [row, ...unit.filter((each) => !isEnded(each.status))];
}

/**
 * The tasks that rows name: a row without a task id uses that of its nearest ancestor with one.
 */
function namedTasks(row: JobRow): readonly string[] {
  return [...new Set(openUnit(row).map(nearestTask).filter(isNamed))];
}

const nearestTask = (row: JobRow): string | undefined =>
  [row, ...ancestorsOf(row)].map(taskOf).find(isNamed);

/**
 * The tasks that keep a row alive. A row's own id may be that of its task if it is a UUID: then it is
 * asked for as well, but not to find it proves nothing.
 */
export function tasksOf(row: JobRow): readonly string[] {
  const own = openUnit(row).flatMap(({ id }) =>
    typeof id === 'string' && isUuid(id) ? [canonicalTask(id)] : [],
  );
  return [...new Set([...namedTasks(row), ...own])];
}

/**
 * Whether worker and broker can be asked about a row: its tree names tasks, and so does each row of it
 * that may be at work; or all work below it has ended, so that it waits for nothing.
 */
export function isAskable(row: JobRow, { stop }: Pick<Evidence, 'stop'> = {}): boolean {
  if (stop !== undefined && !namesAllWork(row)) return false;
  const below = descendantsOf(row);
  const working = openUnit(row).filter(
    ({ children, status }) => children.length === 0 && status !== 'pending',
  );
  if (working.some((each) => nearestTask(each) === undefined)) return false;
  const leaves = below.filter(({ children }) => children.length === 0);
  const ended = leaves.length > 0 && leaves.every(({ status }) => isEnded(status));
  return ended || namedTasks(row).length > 0 || below.some((each) => taskOf(each) !== null);
}

/**
 * Whether no task can be at work on it, or begin to, whose id it does not show: each unfinished row at
 * the bottom names its own, and no more rows are to come. After a stop nothing else speaks for a row:
 * a message that waits in a queue may be for it, however young or old it is.
 */
function namesAllWork(row: JobRow): boolean {
  const unit = openUnit(row);
  const leaves = unit.filter(({ children, status }) => children.length === 0 && !isEnded(status));
  if (leaves.some((each) => taskOf(each) === null)) return false;
  const parents = unit.filter(({ children }) => children.length > 0);
  if (parents.some(isIncomplete)) return false;
  return row.children.length === 0 || taskOf(row) !== null || describeSame(row).some(hasAllRows);
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
  const { holding, waiting, hidden } = evidence;
  if (hidden !== null && (namedTasks(row).length > 0 || !isAskable(row, evidence))) {
    const why = `its task may still be queued: ${hidden}; with \`evidence: age\` its age alone decides`;
    return { kind: 'unknown', why };
  }
  if (!isAskable(row, evidence) && holding + waiting > 0) {
    const left = [
      `${formatCount(holding, 'task')} in workers`,
      `${formatCount(waiting, 'message')} in the broker`,
    ];
    const why = `any of those left may be its own (${left.join(', ')})`;
    return { kind: 'unknown', why: evidence.stop === undefined ? unnamed(why) : unlisted(why) };
  }
  return { kind: 'dead', why: describeDeath(namedTasks(row), evidence) };
}

const unnamed = (why: string): string =>
  `it names no task, and ${why}; with \`evidence: age\` its age alone decides`;

const unlisted = (why: string): string =>
  `not every task that may work on it is known, and ${why}; left to the clean-up`;

function describeDeath(
  tasks: readonly string[],
  { worker, unit, holding, waiting }: Evidence,
): string {
  const stopped = worker === 'stopped' ? `${unit} is stopped` : null;
  const idle = holding + waiting === 0 ? ', and no task is left in a worker or a queue' : '';
  const [first] = tasks;
  const lost =
    first === undefined
      ? `it has no task id${idle}`
      : tasks.length === 1
        ? `task ${shortId(first)} is neither in a worker nor in a queue`
        : `its ${tasks.length} tasks are neither in a worker nor in a queue`;
  return [stopped, lost].filter((part) => part !== null).join(', ');
}
