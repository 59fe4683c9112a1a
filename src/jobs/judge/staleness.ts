import { ConfigError } from '../../model/errors.ts';
import type { Finding } from '../../model/operation.ts';
import { type EpochSeconds, epochSeconds, type Seconds } from '../../model/units.ts';
import { readInstant } from '../tables/instants.ts';
import {
  type JobForest,
  type JobRow,
  mirrorAbove,
  nameRow,
  rowKey,
  showValue,
  taskOf,
} from '../tables/job-forest.ts';
import type { TableVerdict } from '../tables/job-tables.ts';
import type { LeftRow } from '../tables/left-alone.ts';
import { isEnded, statusWords } from '../tables/mapping.ts';
import { prefixLength, readNamedId } from './suspects.ts';

export interface StalenessRules {
  /** By the host's clock, when the copy was made. */
  readonly now: EpochSeconds;
  readonly thresholdSeconds: Seconds;
  /** Statuses in which a row can be stuck. */
  readonly statuses: readonly string[];
  readonly orphans: boolean;
  /** The worker is: what has a task of its own, and nothing below, is dead whatever its age. */
  readonly stopped?: boolean;
}

/** A row that wants repair, and why. */
export interface StuckRow {
  readonly row: JobRow;
  readonly reason: 'stuck' | 'orphan' | 'named';
  /** What says that it is dead, beside its age; `null`: nobody was asked. */
  readonly evidence?: string | null;
  /** Its task is still to come: only a reset that sends nothing does no harm. */
  readonly owed?: boolean;
  /** The freshest sign of life in it and in all that is below; `null`: none that can be read. */
  readonly lastSign: EpochSeconds | null;
}

export interface StuckRows {
  readonly stuck: readonly StuckRow[];
  /** Rows that may be stuck, of which that can't be told. */
  readonly left: readonly LeftRow[];
  readonly findings: readonly Finding[];
}

/** A host's clock and an app's may differ a little. */
const clockTolerance = 300;

/**
 * The rows that show no sign of life, neither themselves nor anything below them, since longer
 * than the threshold. A row whose times can't be read is reported and left alone.
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
    if (reason === null) continue;
    const sign = life.ofUnit(row);
    if (row.blocked !== null) {
      leave(row, '', `${nameRow(row)}: ${row.blocked}`);
    } else if (rules.stopped && reason === 'stuck' && isLeafOfTask(row)) {
      stuck.push({ row, reason, lastSign: latestOf(sign, rules) });
    } else if (sign.unreadable !== null) {
      leave(row, 'its age is unknown', `${nameRow(row)}: ${sign.unreadable}`);
    } else if (sign.latest === null) {
      const line = `${nameRow(row)} holds no time`;
      left.push({ row, why: 'its age is unknown', says: { line }, level: 'warning', yields: true });
    } else if (sign.latest > rules.now + clockTolerance) {
      leave(row, 'its last sign of life is in the future', nameRow(row));
    } else if (rules.now - sign.latest > rules.thresholdSeconds) {
      stuck.push({ row, reason, lastSign: epochSeconds(sign.latest) });
    }
  }
  return { stuck, left, findings: reportOddities(forest, rules) };
}

/** Its task did the work, and nobody else will. */
const isLeafOfTask = (row: JobRow): boolean => taskOf(row) !== null && row.children.length === 0;

const latestOf = ({ latest }: Sign, { now }: StalenessRules): EpochSeconds | null =>
  latest === null || latest > now ? null : epochSeconds(latest);

function suspect(row: JobRow, rules: StalenessRules): 'stuck' | 'orphan' | null {
  const stuck = rules.statuses.includes(row.status);
  // Without a foreign key a parent may be gone on purpose: only unfinished work is an orphan then.
  if (rules.orphans && row.orphan && (stuck || row.tie?.foreignKey)) return 'orphan';
  return stuck ? 'stuck' : null;
}

/** @throws ConfigError when a status is asked for in which nothing can be stuck */
export function refuseEndedStatuses(statuses: readonly string[]): void {
  const ended = statuses.find((status) => isEnded(status));
  if (ended === undefined) return;
  throw new ConfigError(
    'input statuses',
    `a row in status ${ended} has ended and can't be stuck`,
    'statuses of unfinished work, such as processing',
  );
}

interface Sign {
  /** Seconds since 1970. */
  readonly latest: number | null;
  /** The first time that can't be read. */
  readonly unreadable: string | null;
}

/** Signs of life, each row's looked up once. */
class LifeSigns {
  readonly #known = new Map<JobRow, Sign>();
  readonly #timeZone: string;
  readonly #now: number | null;

  /** @param now `null`: what hangs on the rows in tables of other things is not looked at */
  constructor(timeZone: string, now: number | null) {
    this.#timeZone = timeZone;
    this.#now = now;
  }

  /** Of the row, all that is below it, and the row it mirrors. */
  ofUnit(row: JobRow): Sign {
    return this.#ofTree(mirrorAbove(row) ?? row);
  }

  #ofTree(row: JobRow): Sign {
    const known = this.#known.get(row);
    if (known) return known;
    const sign = [
      readSign(row, this.#timeZone),
      readBystanders(row, this.#now),
      ...row.children.map((child) => this.#ofTree(child)),
    ].reduce(join);
    this.#known.set(row, sign);
    return sign;
  }
}

function join(one: Sign, other: Sign): Sign {
  const times = [one.latest, other.latest].filter((time) => time !== null);
  return {
    latest: times.length > 0 ? Math.max(...times) : null,
    unreadable: one.unreadable ?? other.unreadable,
  };
}

function readSign(row: JobRow, timeZone: string): Sign {
  let sign: Sign = { latest: null, unreadable: null };
  for (const column of row.mapping.times) {
    const value = row.values[column] ?? null;
    const reading = readInstant(value, timeZone);
    if (reading.kind === 'instant') sign = join(sign, { latest: reading.at, unreadable: null });
    if (reading.kind === 'unreadable') {
      const unreadable = `${nameRow(row)} has ${column} = ${showValue(value)}`;
      sign = join(sign, { latest: null, unreadable });
    }
  }
  return sign;
}

/** What hangs on a row in tables of other things may move because the row does. */
function readBystanders({ bystanders }: JobRow, now: number | null): Sign {
  let latest: number | null = null;
  for (const at of bystanders.flatMap(({ times }) => times)) {
    const past = now !== null && at <= now + clockTolerance;
    if (past && (latest === null || at > latest)) latest = at;
  }
  return { latest, unreadable: null };
}

/** The longest list of rows in one finding. */
const shown = 10;

function reportOddities(forest: JobForest, rules: StalenessRules): Finding[] {
  const findings: Finding[] = [];
  for (const [table, count] of forest.withoutId) {
    const message = `${table}: ${count} rows whose id is neither text nor a number are left alone`;
    findings.push({ level: 'warning', message });
  }
  const known: ReadonlySet<string> = new Set([...statusWords, ...rules.statuses]);
  for (const { table } of forest.mapping) {
    const words = new Set(
      forest.rows
        .filter((row) => row.mapping.table === table && !known.has(row.status))
        .map((row) => row.status || 'no text'),
    );
    if (words.size === 0) continue;
    const list = [...words].slice(0, shown).join(', ');
    findings.push({
      level: 'notice',
      message: `${table}: rows in a status that Celeriac does not know are left alone: ${list}`,
    });
  }
  return findings;
}

/** Which rows an id means; none, when it names nothing here. */
export function findNamed(forest: JobForest, id: string): readonly JobRow[] {
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
 * The rows that a person named, over all databases; age doesn't matter.
 *
 * @param doubtful tables whose rows are left alone, so that an id of theirs is explained
 * @throws ConfigError when an id names nothing, or more than one row
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
    const problem = `${nameRow(row)} can't be changed by its id: ${row.blocked}`;
    throw new ConfigError('input ids', problem, 'a row with an id of its own');
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
      `${quote(id)}: ${spared.table.name} is not taken for a table of jobs: ${spared.reason}`,
      'the id of a job; or that table among those of `stores`',
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
    `no job, and nothing below one, has the id ${quote(id)}${short ? ` (or it is too short for a beginning)` : ''}`,
    `a whole id, or its first ${prefixLength} characters or more${hint}`,
  );
}

function ambiguousId(id: string, rows: readonly JobRow[]): ConfigError {
  const more = rows.length > shown ? ` and ${rows.length - shown} more` : '';
  const list = rows.slice(0, shown).map(rowKey);
  return new ConfigError(
    'input ids',
    `${quote(id)} names ${rows.length} rows: ${list.join(', ')}${more}`,
    'an id that names one row; table:id tells rows of two tables apart',
  );
}

const quote = (text: string): string => `'${text.slice(0, 80)}'`;

/** Unfinished: pending, processing, or what the person counts as processing. */
export const isOpen = (row: JobRow, statuses: readonly string[]): boolean =>
  row.status === 'pending' || row.status === 'processing' || statuses.includes(row.status);
