import { ConfigError } from '../../model/errors.ts';
import type { Finding } from '../../model/operation.ts';
import { type EpochSeconds, epochSeconds, type Seconds } from '../../model/units.ts';
import { type JobForest, type JobRow, nameRow, rowKey, taskOf } from '../tables/job-forest.ts';
import type { TableVerdict } from '../tables/job-tables.ts';
import { isEnded } from '../tables/mapping.ts';
import type { LeftRow } from '../tables/skipped-rows.ts';
import { awaitedTime, isBetweenRuns } from './planned.ts';
import { clockTolerance, LifeSigns, type Sign } from './signs-of-life.ts';
import { prefixLength, readNamedId } from './suspects.ts';
import { warnOfTimeZones } from './time-zones.ts';
import { reportUnknown, seemsAtWork } from './unknown-statuses.ts';

export interface StalenessRules {
  /** When the copy was made, by the host's clock. */
  readonly now: EpochSeconds;
  readonly thresholdSeconds: Seconds;
  /** Statuses in which a row can be stuck. */
  readonly statuses: readonly string[];
  readonly orphans: boolean;
  /** The worker is stopped: a row with a task and without children is dead, whatever its age. */
  readonly stopped?: boolean;
  /** When the worker was seen to be gone: then this decides, and no threshold. */
  readonly stoppedAt?: EpochSeconds;
}

/** A row that needs repair, and why. */
export interface StuckRow {
  readonly row: JobRow;
  /**
   * `abandoned`: by a worker that was stopped since its last sign of life.
   * `waiting`: a parent in a status in which nothing is stuck; it may only end with its rows.
   */
  readonly reason: 'stuck' | 'abandoned' | 'orphan' | 'named' | 'waiting';
  /** The evidence besides its age; `null`: worker and broker were not asked. */
  readonly evidence?: string | null;
  /** Its task is still in the broker: only a reset that sends nothing is harmless. */
  readonly owed?: boolean;
  /** The latest sign of life of the row and its descendants; `null`: none that is readable. */
  readonly lastSign: EpochSeconds | null;
}

export interface StuckRows {
  readonly stuck: readonly StuckRow[];
  /** Rows for which it is unclear whether they are stuck. */
  readonly left: readonly LeftRow[];
  readonly findings: readonly Finding[];
}

/**
 * The rows that have shown no sign of life, neither themselves nor their descendants, for longer than
 * the threshold, or none since the worker was stopped. A row with unreadable timestamps is reported and skipped.
 */
export function findStuckRows(forest: JobForest, rules: StalenessRules): StuckRows {
  const { timeZone } = forest;
  const life = new LifeSigns(timeZone, rules.now);
  const stuck: StuckRow[] = [];
  const left: LeftRow[] = [];
  const leave = (row: JobRow, why: string, line: string): void => {
    left.push({ row, why, says: { line }, level: 'warning' });
  };
  for (const row of forest.rows) {
    const reason = suspect(row, rules);
    const sign = life.ofUnit(row);
    if (reason === null) {
      if (!seemsAtWork(row.status) || sign.latest === null || !isOver(sign.latest, rules)) continue;
      const because = `no sign of life in the unknown status ${row.status}`;
      left.push({ row, why: 'unknown status', says: { because }, level: 'notice' });
      continue;
    }
    if (row.blocked !== null) {
      leave(row, '', `${nameRow(row)}: ${row.blocked}`);
    } else if (rules.stopped && reason === 'stuck' && isLeafOfTask(row)) {
      stuck.push({ row, reason, lastSign: latestOf(sign, rules) });
    } else if (sign.unreadable !== null) {
      leave(row, 'age unknown', `${nameRow(row)}: ${sign.unreadable}`);
    } else if (sign.latest === null) {
      const line = `${nameRow(row)} has no timestamp`;
      left.push({ row, why: 'age unknown', says: { line }, level: 'warning', yields: true });
    } else if (sign.latest > rules.now + clockTolerance) {
      leave(row, 'last sign of life is in the future', nameRow(row));
    } else if (isOver(sign.latest, rules)) {
      const awaited = awaitedTime(row, { now: rules.now, timeZone });
      if (awaited !== null) {
        left.push({
          row,
          why: 'waits for its planned time',
          says: { line: awaited },
          level: 'notice',
        });
        continue;
      }
      const why = rules.stoppedAt === undefined ? reason : 'abandoned';
      stuck.push({ row, reason: why, lastSign: epochSeconds(sign.latest) });
    }
  }
  const waiting = findWaiting(forest, rules, life, stuck);
  const found = waiting.length === 0 ? stuck : inOrder(forest, [...stuck, ...waiting]);
  const findings = [
    ...reportUnknown(forest, rules.statuses),
    ...warnOfTimeZones(forest, rules.now),
  ];
  return { stuck: found, left, findings };
}

function isOver(latest: number, { now, thresholdSeconds, stoppedAt }: StalenessRules): boolean {
  if (stoppedAt === undefined) return now - latest > thresholdSeconds;
  // Of the second of the stop nobody knows: many apps write no fractions.
  return latest < Math.floor(stoppedAt);
}

/**
 * Parents that stay pending while their rows run: those of which all rows have ended, or are stuck,
 * and that have shown no sign of life either.
 */
function findWaiting(
  forest: JobForest,
  rules: StalenessRules,
  life: LifeSigns,
  stuck: readonly StuckRow[],
): readonly StuckRow[] {
  const { timeZone } = forest;
  const found = new Set(stuck.map(({ row }) => row));
  const waiting: StuckRow[] = [];
  for (const row of forest.rows.toReversed()) {
    if (found.has(row) || row.blocked !== null || row.children.length === 0) continue;
    if (!isOpen(row, rules.statuses) || rules.statuses.includes(row.status)) continue;
    if (!row.children.every((child) => isEnded(child.status) || found.has(child))) continue;
    if (isBetweenRuns(row) || awaitedTime(row, { now: rules.now, timeZone }) !== null) continue;
    const { latest, unreadable } = life.ofUnit(row);
    if (unreadable !== null || latest === null || latest > rules.now) continue;
    if (!isOver(latest, rules)) continue;
    // After a stop a parent ends with rows that the stopped worker abandoned, and with no others.
    if (rules.stoppedAt !== undefined && !row.children.some((child) => found.has(child))) continue;
    found.add(row);
    waiting.push({ row, reason: 'waiting', lastSign: epochSeconds(latest) });
  }
  return waiting;
}

function inOrder({ rows }: JobForest, found: readonly StuckRow[]): StuckRow[] {
  const at = new Map(rows.map((row, index) => [row, index]));
  return found.toSorted((a, b) => (at.get(a.row) ?? 0) - (at.get(b.row) ?? 0));
}

/** Rows without a readable sign of life, neither of their own nor below them. */
export function findAgeless(forest: JobForest, now: EpochSeconds): ReadonlySet<JobRow> {
  const life = new LifeSigns(forest.timeZone, now);
  return new Set(
    forest.rows.filter((row) => {
      const { latest, unreadable } = life.ofTree(row);
      return latest === null || unreadable !== null;
    }),
  );
}

/** Only its own task works on it. */
const isLeafOfTask = (row: JobRow): boolean => taskOf(row) !== null && row.children.length === 0;

const latestOf = ({ latest }: Sign, { now }: StalenessRules): EpochSeconds | null =>
  latest === null || latest > now ? null : epochSeconds(latest);

function suspect(row: JobRow, rules: StalenessRules): 'stuck' | 'orphan' | null {
  const stuck = rules.statuses.includes(row.status);
  // Without a foreign key a parent may be gone on purpose: then only unfinished rows are orphans.
  if (rules.orphans && row.orphan && (stuck || row.tie?.foreignKey)) return 'orphan';
  return stuck ? 'stuck' : null;
}

/** @throws ConfigError for a final status, in which nothing can be stuck */
export function refuseEndedStatuses(statuses: readonly string[]): void {
  const ended = statuses.find((status) => isEnded(status));
  if (ended === undefined) return;
  throw new ConfigError(
    'input statuses',
    `a row in status ${ended} has ended and cannot be stuck`,
    'statuses of unfinished work, such as processing',
  );
}

/** The longest list of rows in one finding. */
const shown = 10;

/** The rows that an id selects; may be empty. */
function findNamed(forest: JobForest, id: string): readonly JobRow[] {
  const { table, text, mayBegin } = readNamedId(forest.mapping, id);
  const rows = table === null ? forest.rows : forest.rows.filter((row) => isOf(row, table));
  const exact = rows.filter((row) => String(row.id) === text);
  if (exact.length > 0 || !mayBegin) return topmost(exact);
  return topmost(rows.filter((row) => String(row.id).startsWith(text)));
}

const isOf = (row: JobRow, table: string): boolean => row.mapping.table === table;

/** A job and its batch may share an id: the upper one selects both. */
function topmost(rows: readonly JobRow[]): readonly JobRow[] {
  return rows.filter((row) => !rows.some((other) => isAbove(other, row)));
}

const isAbove = (upper: JobRow, row: JobRow): boolean =>
  row.parent !== null && (row.parent === upper || isAbove(upper, row.parent));

/**
 * The rows that the user selected by id, in all databases; their age does not matter.
 *
 * @param doubtful tables whose rows are skipped, to explain an id of theirs
 * @throws ConfigError when an id matches no row, or more than one
 */
export function selectNamed(
  forests: readonly JobForest[],
  ids: readonly string[],
  doubtful: readonly TableVerdict[] = [],
): readonly (readonly StuckRow[])[] {
  const selected: StuckRow[][] = forests.map(() => []);
  for (const id of ids) {
    const matches = forests.map((forest) => findNamed(forest, id));
    const all = matches.flat();
    if (all.length === 0) throw unknownId(id, forests, doubtful);
    if (all.length > 1) throw ambiguousId(id, all);
    matches.forEach((rows, index) => {
      const timeZone = forests[index]?.timeZone ?? 'UTC';
      for (const row of rows) selected[index]?.push(nameStuck(row, timeZone));
    });
  }
  return selected;
}

function nameStuck(row: JobRow, timeZone: string): StuckRow {
  if (row.blocked !== null) {
    const problem = `cannot change ${nameRow(row)} by its id: ${row.blocked}`;
    throw new ConfigError('input ids', problem, 'a row with a unique id');
  }
  const { latest } = new LifeSigns(timeZone, null).ofUnit(row);
  return { row, reason: 'named', lastSign: latest === null ? null : epochSeconds(latest) };
}

function unknownId(
  id: string,
  forests: readonly JobForest[],
  doubtful: readonly TableVerdict[],
): ConfigError {
  const spared = doubtful.find(({ table }) => id.startsWith(`${table.name}:`));
  if (spared !== undefined) {
    return new ConfigError(
      'input ids',
      `${quote(id)}: ${spared.table.name} is not recognized as a table of jobs: ${spared.reason}`,
      'the id of a job; or add that table to `stores`',
    );
  }
  const short = id.length < prefixLength;
  const open = forests
    .flatMap((forest) => forest.rows)
    .filter((row) => row.parent === null && !isEnded(row.status));
  const candidates = open.slice(0, shown).map(rowKey);
  const hint = candidates.length > 0 ? `; unfinished now: ${candidates.join(', ')}` : '';
  return new ConfigError(
    'input ids',
    `no job or row below a job has the id ${quote(id)}${short ? ` (too short for a shortened id)` : ''}`,
    `a full id, or at least its first ${prefixLength} characters${hint}`,
  );
}

function ambiguousId(id: string, rows: readonly JobRow[]): ConfigError {
  const more = rows.length > shown ? ` and ${rows.length - shown} more` : '';
  const list = rows.slice(0, shown).map(rowKey);
  return new ConfigError(
    'input ids',
    `${quote(id)} matches ${rows.length} rows: ${list.join(', ')}${more}`,
    'an id that matches one row; use table:id if the id exists in two tables',
  );
}

const quote = (text: string): string => `'${text.slice(0, 80)}'`;

/** Unfinished: pending, processing, or one of the given statuses. */
export const isOpen = (row: JobRow, statuses: readonly string[]): boolean =>
  row.status === 'pending' || row.status === 'processing' || statuses.includes(row.status);
