import type { CleanUpAction } from '../../config/cleanup-desired.ts';
import { ConfigError } from '../../model/errors.ts';
import type { Finding, RowChange, SqlValue, TaskCall } from '../../model/operation.ts';
import { type EpochSeconds, epochSeconds, type Seconds, seconds } from '../../model/units.ts';
import { formatCount, formatDuration } from '../../report/quantities.ts';
import { type Evidence, judgeRow, tasksOf } from '../judge/liveness.ts';
import { isOpen, type StuckRow } from '../judge/staleness.ts';
import { type Bystanders, holdersOf } from '../tables/bystanders.ts';
import { defaultForm, readInstant, writeInstant } from '../tables/instants.ts';
import {
  ancestorsOf,
  descendantsOf,
  isOwn,
  type JobForest,
  type JobRow,
  mirrorAbove,
  nameRow,
  pickSeen,
  rootOf,
  showValue,
  vitalColumns,
} from '../tables/job-forest.ts';
import { type LeftRow, reportLeft } from '../tables/left-alone.ts';
import { type CounterMapping, isEnded, type TableMapping, wordFor } from '../tables/mapping.ts';

export interface RepairRules {
  readonly action: CleanUpAction;
  /** By the host's clock. */
  readonly now: EpochSeconds;
  readonly statuses: readonly string[];
  /** Stands in the error message of the rows that are failed. */
  readonly runUrl: string | null;
  /** What the worker and the broker said; `null`: nobody was asked. */
  readonly evidence: Evidence | null;
  /** How often a row has been reset: `table:id` → times. */
  readonly resets: Readonly<Record<string, number>>;
  readonly maxResets: number;
  /** The id of a task that is to be sent. */
  readonly newTaskId: () => string;
}

/** A changed row, for people. */
export interface RepairedRow {
  readonly table: string;
  readonly id: string | number;
  readonly status: string;
  /** The new status, `deleted`, or the same status when only its counters change. */
  readonly becomes: string;
  /** Since its last sign of life. */
  readonly ageSeconds: Seconds | null;
  readonly why: string;
}

export interface Repair {
  /** Groups one after another, children before parents. */
  readonly changes: readonly RowChange[];
  /** Parents before children, as people read them; one for each change but `keep`. */
  readonly rows: readonly RepairedRow[];
  /** Tasks to be sent for rows that are reset; each belongs to the group of its row. */
  readonly calls: readonly (TaskCall & { readonly group: string })[];
  /** The tasks that must still be gone when a group is changed. */
  readonly tasks: readonly { readonly group: string; readonly task: string }[];
  readonly findings: readonly Finding[];
}

/** What is to become of one row. */
interface Fate {
  readonly becomes: 'failed' | 'pending' | 'cancelled' | 'completed' | 'deleted';
  readonly why: string;
  /** For the row's error column, when it fails. */
  readonly message: string | null;
  /** When it ended; only for rows that end. */
  readonly endedAt: EpochSeconds;
  readonly lastSign: EpochSeconds | null;
  /** With `pending`: its task is still owed, so that nothing is sent and its id stays. */
  readonly owed?: boolean;
}

type Fates = Map<JobRow, Fate>;

/**
 * What to do about the rows that were found: these, what hangs on them, and nothing else.
 *
 * `fail` and `reset` also take the unfinished rows below and the row's mirror; `delete` takes all
 * that is below. Each row comes with what was seen of it, so that the host changes it only if it
 * is still so; the whole tree of a job is one group.
 *
 * @param left rows that are left alone, whatever becomes of those around them
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
    endedOrphans: new Map(),
    unfinished: new Map(),
  };
  // Upper rows come first: what is below a stuck row shares its fate.
  for (const found of stuck) decide(found, deciding);
  if (rules.action === 'fail') endParents(deciding);
  const sent = chooseCalls(fates, rules);
  const counters = countAgain(fates);
  const groups = listGroups(forest, fates, counters, sent, rules);
  return {
    changes: groups.flat().map(({ change }) => change),
    rows: groups.flatMap((group) => group.toReversed().flatMap(({ shown }) => shown ?? [])),
    calls: [...sent].map(([row, call]) => ({ ...call, group: groupOf(row) })),
    tasks: rules.evidence === null ? [] : listGone(fates),
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
  };
}

const groupOf = (row: JobRow): string => {
  const root = rootOf(row);
  return `${root.mapping.table}:${root.id}`;
};

/** The tasks of which a verdict says that they are gone, for a second look. */
function listGone(fates: Fates): Repair['tasks'] {
  const seen = new Map<string, { readonly group: string; readonly task: string }>();
  for (const [row, fate] of fates) {
    if (fate.owed) continue;
    const group = groupOf(row);
    for (const task of tasksOf(row)) seen.set(JSON.stringify([group, task]), { group, task });
  }
  return [...seen.values()];
}

/**
 * The calls by which reset rows begin again: of the rows of one tree that are reset, the upper one
 * starts those below it, so that nothing runs twice.
 */
function chooseCalls(fates: Fates, { newTaskId }: RepairRules): ReadonlyMap<JobRow, TaskCall> {
  const sends = (row: JobRow): boolean => {
    const fate = fates.get(row);
    return fate?.becomes === 'pending' && !fate.owed && row.mapping.resend !== null;
  };
  const chosen = [...fates.keys()].filter(
    (row) => sends(row) && !ancestorsOf(row).some((above) => sends(above)),
  );
  return new Map(chosen.map((row) => [row, callOf(row, newTaskId())]));
}

function callOf(row: JobRow, id: string): TaskCall {
  const { table, id: key, task: column, resend } = row.mapping;
  if (resend === null || column === null) throw new RangeError(`${table} has no task to send`);
  const { task, args, queue } = resend;
  const values = args.map((name): SqlValue => {
    const value = name === key ? row.id : (row.values[name] ?? null);
    if (value === null || typeof value !== 'object') return value;
    throw new ConfigError(
      'input stores',
      `${nameRow(row)} holds ${showValue(value)} in \`${name}\`, which can't be an argument of a task`,
      '`resend` with columns of text or numbers',
    );
  });
  return { id, task, args: values, queue, row: { table, key, id: row.id, column } };
}

interface Deciding {
  readonly rules: RepairRules;
  readonly forest: JobForest;
  readonly fates: Fates;
  readonly wanted: ReadonlyMap<JobRow, StuckRow>;
  /** What is told of rows that are left alone; and those rows, with what belongs to them. */
  readonly left: LeftRow[];
  readonly spared: Set<JobRow>;
  readonly findings: Finding[];
  /** Table → rows that have ended and whose parent is gone. */
  readonly endedOrphans: Map<string, number>;
  /** Table → rows that are stuck, and that `finalise` leaves so. */
  readonly unfinished: Map<string, number>;
}

function decide(found: StuckRow, deciding: Deciding): void {
  const { row, reason } = found;
  const { rules, fates, findings } = deciding;
  if (fates.has(row) || deciding.spared.has(row)) return;
  const blocked = [row, mirrorAbove(row), ...descendantsOf(row)].find((each) => each?.blocked);
  if (blocked) {
    spare([row], `${nameRow(row)}: ${nameRow(blocked)}: ${blocked.blocked}`, deciding);
    return;
  }
  if (reason === 'stuck' || rules.action === 'finalise') {
    if (spareUnsettled(row, deciding)) return;
    const mirror = endedMirror(row, deciding);
    if (mirror) {
      settle(found, mirror, deciding);
      return;
    }
    if (isDone(row, deciding)) {
      finalise(found, deciding);
      return;
    }
  }
  if (rules.action === 'finalise') {
    const { table } = row.mapping;
    deciding.unfinished.set(table, (deciding.unfinished.get(table) ?? 0) + 1);
    return;
  }
  if (rules.action === 'delete') {
    remove(found, deciding);
    return;
  }
  if (reason === 'orphan' && !isOpen(row, rules.statuses)) {
    const { table } = row.mapping;
    deciding.endedOrphans.set(table, (deciding.endedOrphans.get(table) ?? 0) + 1);
    return;
  }
  const open = [row, ...descendantsOf(row)].filter((each) => isOpen(each, rules.statuses));
  if (reason === 'named' && open.length === 0) {
    findings.push({
      level: 'warning',
      message: `${nameRow(row)} is ${row.status || 'in no known status'}, and nothing below it is unfinished: only action delete changes such rows`,
    });
    return;
  }
  if (rules.action !== 'reset' || isAbandoned(found, deciding)) {
    fail(found, deciding);
    return;
  }
  const times = Math.max(...open.map((each) => timesReset(each, rules)));
  if (times < rules.maxResets) reset(found, deciding);
  else fail(found, deciding, `reset ${formatCount(times, 'time')} already`);
}

/**
 * All work below has ended, and yet what hangs on it in tables of other things has not: whether it
 * waits for that can't be told.
 */
function spareUnsettled(row: JobRow, deciding: Deciding): boolean {
  const below = descendantsOf(row);
  const parents = below.filter(({ children }) => children.length > 0);
  if (below.length === 0 || !below.every((each) => isEnded(each.status) || parents.includes(each)))
    return false;
  const open = parents.filter(({ status }) => !isEnded(status));
  const others = [row, ...open].flatMap(unfinishedOthers);
  if (others.length === 0) return false;
  const list = others.map(({ mapping, unfinished }) => `${unfinished} of ${mapping.table}`);
  const what = row.children[0]?.mapping.table ?? 'rows';
  const line = `${nameRow(row)}: all its ${what} have ended, but unfinished are ${list.join(', ')}, and whether those are jobs can't be told`;
  spare([row, ...open], line, deciding);
  return true;
}

/** What hangs on it or on its mirror, waits or is at work, and may be jobs or not. */
const unfinishedOthers = (row: JobRow): readonly Bystanders[] =>
  [row, mirrorAbove(row)]
    .flatMap((each) => each?.bystanders ?? [])
    .filter(({ unfinished }) => unfinished > 0);

/** Left alone, whatever becomes of what is around it; told of the first of these rows. */
function spare(
  rows: readonly [JobRow, ...JobRow[]],
  line: string,
  { left, spared }: Deciding,
): void {
  left.push({ row: rows[0], why: '', says: { line }, level: 'warning' });
  for (const row of rows) spared.add(row);
}

const timesReset = (row: JobRow, { resets }: RepairRules): number =>
  resets[`${row.mapping.table}:${row.id}`] ?? 0;

/** It waits for nothing: all below it has ended, and no more is to come. */
function isDone(row: JobRow, { rules, wanted }: Deciding): boolean {
  const ended = (child: JobRow): boolean =>
    isEnded(child.status) ||
    (wanted.get(child)?.reason === 'stuck' && child.children.length > 0 && done(child));
  const done = (each: JobRow): boolean =>
    each.children.length > 0 &&
    isOpen(each, rules.statuses) &&
    each.status !== 'pending' &&
    each.children.every(ended) &&
    !expectsMore(each);
  return done(row);
}

/** What a parent of rows that ended like this becomes: completed, when one of them is. */
const endOfAll = (ends: readonly string[]): 'completed' | 'failed' | 'cancelled' =>
  (['completed', 'failed', 'cancelled'] as const).find((word) => ends.includes(word)) ?? 'failed';

/** It becomes what became of those below it. */
function finalise(found: StuckRow, deciding: Deciding): 'completed' | 'failed' | 'cancelled' {
  const { rules, fates, wanted } = deciding;
  const { row } = found;
  const ends = row.children.map((child) => {
    const own = wanted.get(child);
    return isEnded(child.status) || own === undefined ? child.status : finalise(own, deciding);
  });
  const becomes = endOfAll(ends);
  const failed = ends.filter((status) => status === 'failed').length;
  const what = row.children[0]?.mapping.table ?? 'rows';
  const story = `${failed} of ${ends.length} ${what} failed`;
  fates.set(row, {
    becomes,
    why: withEvidence(`all its ${what} have ended, ${story}`, found),
    message: failed === 0 ? null : `${story}; ${signed('finalised', rules)}`,
    endedAt: latestEnd(row, deciding) ?? rules.now,
    lastSign: found.lastSign,
  });
  return becomes;
}

function latestEnd(row: JobRow, { forest }: Deciding): EpochSeconds | null {
  const ends = descendantsOf(row).map((each) => endOf(each, forest));
  const known = ends.filter((at) => at !== null);
  return known.length > 0 ? epochSeconds(Math.max(...known)) : null;
}

/** Nobody would take the row up again: what it belonged to is gone or has ended. */
function isAbandoned(found: StuckRow, { wanted }: Deciding): boolean {
  const { parent } = found.row;
  if (found.reason === 'orphan' || isEnded(found.row.status)) return true;
  return parent !== null && isEnded(parent.status) && !wanted.has(parent);
}

/** The row that tells the truth, when the work has ended and only this row does not say so. */
function endedMirror(row: JobRow, { rules, wanted, forest }: Deciding): JobRow | null {
  const mirror = endedBelow(row, forest) ?? endedAbove(row);
  if (!mirror || wanted.has(mirror)) return null;
  // Completed work is never deleted because a copy of its status lags behind.
  return rules.action === 'delete' && mirror.status !== 'completed' ? null : mirror;
}

/** The last of a job's batches, when all of them have ended alike. */
function endedBelow(row: JobRow, forest: JobForest): JobRow | null {
  const [first] = row.children;
  const alike = row.children.every(
    (child) => child.tie?.foreignKey === false && !isOwn(child) && child.status === first?.status,
  );
  if (!first || !alike || !isEnded(first.status)) return null;
  const end = (child: JobRow): number => endOf(child, forest) ?? 0;
  return row.children.toSorted((a, b) => end(b) - end(a))[0] ?? null;
}

/** A batch's job; it may be completed for the sake of another batch. */
function endedAbove(row: JobRow): JobRow | null {
  const { parent, tie } = row;
  if (!parent || tie?.foreignKey || isOwn(row) || !isEnded(parent.status)) return null;
  return parent.status === 'completed' && mirrorAbove(row) === null ? null : parent;
}

/** The row says what its mirror says; what is still unfinished below it won't be taken up. */
function settle(found: StuckRow, mirror: JobRow, deciding: Deciding): void {
  const { rules, fates, forest } = deciding;
  const { row } = found;
  const becomes = mirror.status as 'completed' | 'failed' | 'cancelled';
  const message = `its ${mirror.mapping.table} row is ${becomes}; ${signed(`marked ${becomes}`, rules)}`;
  fates.set(row, {
    becomes,
    why: withEvidence(`${nameRow(mirror)} is ${becomes} already`, found),
    message: becomes === 'completed' ? null : message,
    endedAt: endOf(mirror, forest) ?? rules.now,
    lastSign: found.lastSign,
  });
  const rest = becomes === 'cancelled' ? 'cancelled' : 'failed';
  const [first, ...others] = rules.action === 'finalise' ? [] : openBelow(row, rules, fates);
  if (first === undefined) return;
  if (rules.action === 'delete' && spareHeld([first, ...others], deciding)) return;
  for (const below of [first, ...others]) {
    const why = `unfinished below ${nameRow(row)}, which is ${becomes}`;
    fates.set(below, {
      becomes: rules.action === 'delete' ? 'deleted' : rest,
      why,
      message: `${why}; ${signed(`marked ${rest}`, rules)}`,
      endedAt: rules.now,
      lastSign: found.lastSign,
    });
  }
}

function endOf(row: JobRow, { timeZone }: JobForest): EpochSeconds | null {
  const { completed } = row.mapping;
  const reading = readInstant(completed ? (row.values[completed] ?? null) : null, timeZone);
  return reading.kind === 'instant' ? reading.at : null;
}

function remove(found: StuckRow, deciding: Deciding): void {
  const { rules, fates, wanted } = deciding;
  const top = mirrorAbove(found.row) ?? found.row;
  const below = descendantsOf(top);
  if (spareHeld([top, ...below], deciding)) return;
  for (const row of [top, ...below]) {
    if (fates.has(row)) continue;
    const own = wanted.get(row);
    fates.set(row, {
      becomes: 'deleted',
      why: own ? explain(own, rules) : relate(row, found.row),
      message: null,
      endedAt: rules.now,
      lastSign: (own ?? found).lastSign,
    });
  }
}

/** What is named by rows of other things is not deleted: they would go with it, or be changed. */
function spareHeld(rows: readonly [JobRow, ...JobRow[]], deciding: Deciding): boolean {
  const held = rows.find((row) => holdersOf(row, null).length > 0);
  if (held === undefined) return false;
  spare(rows, tellHolders(rows[0], held, null), deciding);
  return true;
}

function tellHolders(top: JobRow, held: JobRow, column: string | null): string {
  const list = holdersOf(held, column).map(
    ({ mapping, rows }) => `${formatCount(rows, 'row')} of ${mapping.table} by ${mapping.column}`,
  );
  const line = `${nameRow(held)} is named by ${list.join(', ')}, which hold no jobs`;
  return held === top ? line : `${nameRow(top)}: ${line}`;
}

function reset(found: StuckRow, deciding: Deciding): void {
  const { rules, fates, wanted } = deciding;
  const { row } = found;
  const mirror = mirrorAbove(row);
  const rows = [row, ...(mirror ? [mirror] : []), ...descendantsOf(row)].filter(
    (each) => isOpen(each, rules.statuses) && each.status !== 'pending',
  );
  // The id of its task is emptied, or becomes another.
  for (const each of rows) {
    const { task } = each.mapping;
    if (task === null || holdersOf(each, task).length === 0) continue;
    spare([row, ...rows], tellHolders(row, each, task), deciding);
    return;
  }
  for (const each of rows) {
    if (fates.has(each)) continue;
    const own = wanted.get(each);
    fates.set(each, {
      becomes: 'pending',
      why: own ? explain(own, rules) : relate(each, row),
      message: null,
      endedAt: rules.now,
      lastSign: (own ?? found).lastSign,
      owed: found.owed === true,
    });
  }
}

function fail(found: StuckRow, { rules, fates, wanted }: Deciding, because = ''): void {
  const { row } = found;
  const mirror = mirrorAbove(row);
  const upper = mirror && isOpen(mirror, rules.statuses) ? [mirror] : [];
  const self = isOpen(row, rules.statuses) ? [row] : [];
  for (const each of [...upper, ...self, ...openBelow(row, rules, fates)]) {
    if (fates.has(each)) continue;
    const own = wanted.get(each);
    const reason = own ? explain(own, rules) : relate(each, row);
    const why = because === '' ? reason : `${reason}; ${because}`;
    const told = stuckFor(each, own ?? found, rules);
    const stuck = because === '' ? told : `${told}; ${because}`;
    const story = each.status === 'pending' ? `never started: ${why}` : stuck;
    fates.set(each, {
      becomes: 'failed',
      why,
      message: `${story}; ${signed('marked failed', rules)}`,
      endedAt: rules.now,
      lastSign: (own ?? found).lastSign,
    });
  }
}

function openBelow(row: JobRow, rules: RepairRules, fates: Fates): readonly JobRow[] {
  return descendantsOf(row).filter((each) => isOpen(each, rules.statuses) && !fates.has(each));
}

function stuckFor(row: JobRow, found: StuckRow, rules: RepairRules): string {
  const age = found.lastSign === null ? '' : ` for ${formatDuration(rules.now - found.lastSign)}`;
  return withEvidence(`stuck in ${row.status}${age}`, found);
}

const withEvidence = (text: string, { evidence }: StuckRow): string =>
  evidence === undefined || evidence === null ? text : `${text}; ${evidence}`;

const signed = (done: string, rules: RepairRules): string =>
  `${done} by celeriac${rules.runUrl ? `, ${rules.runUrl}` : ''}`;

function explain(found: StuckRow, rules: RepairRules): string {
  if (found.reason === 'named') return withEvidence('named in ids', found);
  const { tie, values } = found.row;
  if (found.reason === 'orphan') {
    const missing = showValue(tie ? values[tie.column] : null);
    return withEvidence(`orphan: no row of ${tie?.table} is ${missing}`, found);
  }
  const age = formatDuration(rules.now - (found.lastSign ?? rules.now));
  return withEvidence(`no sign of life for ${age}`, found);
}

function relate(row: JobRow, stuck: JobRow): string {
  return row === mirrorAbove(stuck) ? `mirrors ${nameRow(stuck)}` : `below ${nameRow(stuck)}`;
}

/**
 * A parent that waits for children of which the last was failed just now would wait for ever: the
 * task that ends it comes only after all of them came back.
 */
function endParents({ fates, rules, spared }: Deciding): void {
  const queue = [...fates.keys()].map((row) => row.parent);
  for (let parent = queue.shift(); parent !== undefined; parent = queue.shift()) {
    if (parent === null || fates.has(parent) || spared.has(parent)) continue;
    if (parent.blocked !== null) continue;
    if (!isOpen(parent, rules.statuses) || parent.status === 'pending') continue;
    if (judgeRow(parent, rules.evidence).kind !== 'dead') continue;
    const after = parent.children.map((child) => fates.get(child)?.becomes ?? child.status);
    if (!after.every((status) => isEnded(status)) || expectsMore(parent)) continue;
    if (unfinishedOthers(parent).length > 0) continue;
    const failed = after.filter((status) => status === 'failed').length;
    const what = parent.children[0]?.mapping.table ?? 'rows';
    const story = `${failed} of ${after.length} ${what} failed`;
    fates.set(parent, {
      becomes: endOfAll(after),
      why: `all its ${what} have ended, ${story}`,
      message: failed === 0 ? null : `${story}; ${signed('finalised', rules)}`,
      endedAt: rules.now,
      lastSign: null,
    });
    queue.push(parent.parent);
  }
}

/** Its total says that rows are still to be added below it. */
function expectsMore(row: JobRow): boolean {
  return row.mapping.counters.some((counter) => {
    const total = row.values[counter.column];
    return (
      counter.counts === 'total' &&
      typeof total === 'number' &&
      total > countedBelow(row, counter).length
    );
  });
}

const countedBelow = (row: JobRow, counter: CounterMapping): readonly JobRow[] =>
  descendantsOf(row).filter((below) => below.mapping.table === counter.table && !isOwn(below));

/** Whether the app counts rows below others of their own table can't be told. */
const nests = (row: JobRow, counter: CounterMapping): boolean =>
  descendantsOf(row).some((below) => below.mapping.table === counter.table && isOwn(below));

interface ListedChange {
  readonly change: RowChange;
  readonly shown: RepairedRow | null;
}

/** One group a tree, in the order of the rows found; in a group the deepest rows first. */
function listGroups(
  forest: JobForest,
  fates: Fates,
  counters: Counters,
  sent: ReadonlyMap<JobRow, TaskCall>,
  rules: RepairRules,
): readonly (readonly ListedChange[])[] {
  const groups = new Map<JobRow, Set<JobRow>>();
  const add = (row: JobRow): void => {
    const root = rootOf(row);
    const group = groups.get(root) ?? new Set();
    groups.set(root, group.add(row));
  };
  for (const row of fates.keys()) {
    add(row);
    // The decision rests on all that is below, too, and on the mirror: they must be as seen.
    for (const below of descendantsOf(row)) if (below.blocked === null) add(below);
    const mirror = mirrorAbove(row);
    if (mirror && mirror.blocked === null) add(mirror);
  }
  for (const row of counters.keys()) add(row);
  const depth = new Map(forest.mapping.map((table, index) => [table, index]));
  const depthOf = (row: JobRow): number => depth.get(row.mapping) ?? 0;
  const nested = countNested(forest);
  const ownDepthOf = (row: JobRow): number => (isOwn(row) ? ancestorsOf(row).length : 0);
  return [...groups].map(([root, rows]) =>
    [...rows]
      .toSorted((a, b) => depthOf(b) - depthOf(a) || ownDepthOf(b) - ownDepthOf(a))
      .map((row) => {
        const fate = fates.get(row);
        const counted = counters.get(row) ?? {};
        const call = sent.get(row);
        const change = act(row, fate, counted, forest, rules, call);
        const reset = fate?.becomes === 'pending' && { reset: true as const };
        return {
          change: { ...describe(row, root, forest, nested, fate), change, ...reset },
          shown: show(row, fate, counted, rules),
        };
      }),
  );
}

function describe(
  row: JobRow,
  root: JobRow,
  forest: JobForest,
  nested: Nested,
  fate: Fate | undefined,
): Omit<RowChange, 'change'> {
  const below = forest.mapping.flatMap((table) => {
    if (table.parent?.table !== row.mapping.table) return [];
    const { column } = table.parent;
    // One that hangs below another of its table may name this row all the same.
    const rows =
      table.own === null
        ? row.children.filter((child) => child.mapping === table).length
        : (nested.get(table)?.get(String(row.id)) ?? 0);
    return [{ table: table.table, column, rows }];
  });
  const { table, own } = row.mapping;
  if (own !== null) {
    // The top of a tree may name itself.
    const named = [row, ...row.children.filter(isOwn)].filter((each) =>
      names(each, own.column, row),
    );
    below.push({ table, column: own.column, rows: named.length });
  }
  if (fate?.becomes === 'deleted') {
    const none = row.mapping.bystanders.filter(
      (tie) => tie.foreignKey && tie.to === row.mapping.id,
    );
    below.push(...none.map(({ table, column }) => ({ table, column, rows: 0 })));
  }
  return {
    table: row.mapping.table,
    key: row.mapping.id,
    id: row.id,
    group: `${root.mapping.table}:${root.id}`,
    seen: pickSeen(row, vitalColumns(row.mapping)),
    ...(fate && below.length > 0 ? { below } : {}),
  };
}

const names = (row: JobRow, column: string, other: JobRow): boolean => {
  const value = row.values[column] ?? null;
  return typeof value !== 'object' && String(value) === String(other.id);
};

/** A table whose rows may be below each other → the id of a parent → how many rows name it. */
type Nested = ReadonlyMap<TableMapping, ReadonlyMap<string, number>>;

function countNested({ rows }: JobForest): Nested {
  const counts = new Map<TableMapping, Map<string, number>>();
  for (const { mapping, values } of rows) {
    const value = mapping.own && mapping.parent ? (values[mapping.parent.column] ?? null) : null;
    if (value === null || typeof value === 'object') continue;
    const ofTable = counts.get(mapping) ?? new Map<string, number>();
    counts.set(mapping, ofTable.set(String(value), (ofTable.get(String(value)) ?? 0) + 1));
  }
  return counts;
}

function act(
  row: JobRow,
  fate: Fate | undefined,
  counted: Readonly<Record<string, SqlValue>>,
  forest: JobForest,
  rules: RepairRules,
  call: TaskCall | undefined,
): RowChange['change'] {
  if (fate?.becomes === 'deleted') return { kind: 'delete' };
  const fated = fate ? setColumns(row, fate, fate.becomes, forest, rules) : {};
  const sent = call === undefined ? {} : { [call.row.column]: call.id };
  const set = { ...fated, ...sent, ...counted };
  const news = Object.entries(set).filter(([column, value]) => row.values[column] !== value);
  return news.length > 0 ? { kind: 'update', set: Object.fromEntries(news) } : { kind: 'keep' };
}

function setColumns(
  row: JobRow,
  fate: Fate,
  becomes: Exclude<Fate['becomes'], 'deleted'>,
  forest: JobForest,
  rules: RepairRules,
): Record<string, SqlValue> {
  const { status, started, completed, updated, error, task } = row.mapping;
  const word = wordFor(row.mapping, becomes);
  // Words that are numbers in the table stay numbers.
  const asNumber = typeof row.values[status] === 'number';
  const set: Record<string, SqlValue> = { [status]: asNumber ? Number(word) : word };
  const stamp = (column: string | null, at: EpochSeconds): void => {
    if (column === null) return;
    const form = forest.forms.get(row.mapping.table)?.get(column) ?? defaultForm;
    set[column] = writeInstant(at, form, forest.timeZone);
  };
  stamp(updated, rules.now);
  if (becomes === 'pending') {
    const emptied = [started, completed, error, fate.owed ? null : task];
    for (const column of emptied) if (column) set[column] = null;
    return set;
  }
  stamp(completed, fate.endedAt);
  if (error && fate.message !== null) set[error] = keepEarlier(fate.message, row.values[error]);
  return set;
}

/** What the app itself said went wrong is worth more than that it was stuck. */
function keepEarlier(message: string, before: unknown): string {
  return typeof before === 'string' && before !== '' ? `${message}; before: ${before}` : message;
}

type Counters = ReadonlyMap<JobRow, Readonly<Record<string, SqlValue>>>;

/** The counters of rows above what changes, where they are to say something else now. */
function countAgain(fates: Fates): Counters {
  const above = new Set<JobRow>();
  for (const row of fates.keys()) {
    for (let at: JobRow | null = row; at !== null; at = at.parent) above.add(at);
  }
  const counted = new Map<JobRow, Record<string, SqlValue>>();
  for (const row of above) {
    if (fates.get(row)?.becomes === 'deleted' || row.blocked !== null) continue;
    const set: Record<string, SqlValue> = {};
    for (const counter of row.mapping.counters) {
      const before = countedBelow(row, counter);
      if (before.length === 0 || !before.some((below) => fates.has(below))) continue;
      if (nests(row, counter)) continue;
      const value = row.values[counter.column] ?? null;
      const count = before.filter((below) => isCounted(below, counter, fates)).length;
      // A total is the app's own promise: it is touched only where it counted these very rows.
      if (counter.counts === 'total' && value !== before.length) continue;
      if (value !== count) set[counter.column] = count;
    }
    if (Object.keys(set).length > 0) counted.set(row, set);
  }
  return counted;
}

function isCounted(row: JobRow, counter: CounterMapping, fates: Fates): boolean {
  const status = fates.get(row)?.becomes ?? row.status;
  return counter.counts === 'total' ? status !== 'deleted' : status === counter.counts;
}

function show(
  row: JobRow,
  fate: Fate | undefined,
  counted: Readonly<Record<string, SqlValue>>,
  rules: RepairRules,
): RepairedRow | null {
  const news = Object.entries(counted).map(
    ([column, value]) => `${column} ${showValue(row.values[column])} → ${value}`,
  );
  if (!fate && news.length === 0) return null;
  const sign = fate?.lastSign ?? null;
  return {
    table: row.mapping.table,
    id: row.id,
    status: row.status,
    becomes: fate?.becomes ?? row.status,
    ageSeconds: sign === null ? null : seconds(rules.now - sign),
    why: [fate?.why, ...news].filter((text) => text !== undefined).join('; '),
  };
}

function reportEndedOrphans(ended: ReadonlyMap<string, number>): Finding[] {
  return [...ended].map(([table, count]) => ({
    level: 'notice',
    message: `${table}: rows that have ended and whose parent is gone: ${count}; action delete removes them`,
  }));
}

function reportUnfinished(unfinished: ReadonlyMap<string, number>): Finding[] {
  return [...unfinished].map(([table, count]) => ({
    level: 'notice',
    message: `${table}: ${formatCount(count, 'stuck row')} left so: action finalise ends only what waits for nothing`,
  }));
}

/** Without a foreign key a row of something else may name what is gone, and is not changed. */
function reportNamedByOthers(fates: Fates): Finding[] {
  const counts = new Map<string, number>();
  for (const [row, { becomes }] of fates) {
    for (const { mapping, rows } of becomes === 'deleted' ? row.bystanders : []) {
      const key = `${mapping.table} by ${mapping.column}`;
      counts.set(key, (counts.get(key) ?? 0) + rows);
    }
  }
  if (counts.size === 0) return [];
  const list = [...counts].map(([key, rows]) => `${formatCount(rows, 'row')} of ${key}`);
  const message = `rows that name what is deleted stay as they are, and name nothing then: ${list.join(', ')}`;
  return [{ level: 'notice', message }];
}

/** Those that nothing starts: neither a task of their own, nor that of a row above or of a mirror. */
function warnOfReset(fates: Fates, sent: ReadonlyMap<JobRow, TaskCall>): Finding[] {
  const started = (row: JobRow): boolean =>
    [row, ...ancestorsOf(row)].some((each) => sent.has(each)) ||
    row.children.some((child) => mirrorAbove(child) === row && sent.has(child));
  const idle = [...fates].filter(
    ([row, fate]) => fate.becomes === 'pending' && !fate.owed && !started(row),
  );
  if (idle.length === 0) return [];
  const tables = [...new Set(idle.map(([row]) => row.mapping.table))].join(', ');
  return [
    {
      level: 'warning',
      message: `pending starts nothing by itself: the rows that are reset (${idle.length}) wait until the app sends their tasks again; \`resend\` in \`stores\` says how Celeriac can (${tables})`,
    },
  ];
}
