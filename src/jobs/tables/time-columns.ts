import type { TableSpec } from '../../config/stores-input.ts';
import { ownValue } from '../../model/by-name.ts';
import type { StoreTable } from '../../model/facts/store.ts';
import { columnNames, typeOf } from './columns.ts';
import { readInstant } from './instants.ts';
import { snakeOf } from './names.ts';

/**
 * Which columns hold times. The declared type and the values decide; where neither does, the name.
 * A name alone may mislead: `start_time REAL` may be the seconds of a video.
 */

/** Names of a time and of nothing else. */
const timeNames: ReadonlySet<string> = new Set(
  [columnNames.created, columnNames.started, columnNames.completed, columnNames.updated]
    .flat()
    .filter((name) => !name.endsWith('_time')),
);

/** Words in the names of times that may also be something else. */
const timeWords =
  /(?:^|_)(?:created|started|modified|updated?|changed|touched|seen|heartbeat|beat|pinged|alive|activity|finished|ended|date|datetime|on|since|mtime|ctime)(?:_|$)/;

/** Names of positions, durations, or times. */
const eitherNames = /(?:^|_)(?:time|timestamp|ts)$/;

/** Times that are planned, or not related to work. */
const noSignOfLife =
  /(?:expire|expiry|schedul|eta$|due|deadline|deleted|retry|remind|birth|next|until|not_before|run_after)/i;

/** Whether a time in this column shows that somebody works on the row. */
export const isSignOfLife = (column: string): boolean => !noSignOfLife.test(snakeOf(column));

/** Times at which work is to begin; not those until which something holds, such as a lease or a link. */
const plannedWords =
  /(?:^|_)(?:next|schedul[a-z]*|planned|eta|not_before|(?:run|send|start|execute|process|publish|available|retry)_(?:at|on|after|time))(?:_|$)/;

/** Whether a time in this column, while it lies ahead, says when work on the row is to begin. */
export const isPlannedTime = (column: string): boolean => plannedWords.test(snakeOf(column));

/** Whether the name alone says that a column holds times. */
const isTimeName = (column: string): boolean =>
  timeNames.has(snakeOf(column)) || /_at$/.test(snakeOf(column));

type Declared = 'time' | 'number' | 'text' | 'other';

function declaredAs(type: string): Declared {
  if (/range|interval|bool|json|xml|blob|bytea|binary|uuid|\[\]/i.test(type)) return 'other';
  if (/date|timestamp/i.test(type)) return 'time';
  if (/^time\b/i.test(type)) return 'other';
  return /int|serial|real|floa|doub|num|dec/i.test(type) ? 'number' : 'text';
}

/** `unseen`: the values were not read; `none`: it has no values. */
type Content = 'unseen' | 'none' | 'times' | 'positions' | 'mixed' | 'other';

/** A zero often stands for a time that is still to come. */
function contentOf(table: StoreTable, column: string): Content {
  const seen = ownValue(table.times, column);
  if (seen === undefined) return 'unseen';
  const values = seen.filter((value) => value !== 0 && String(value).trim() !== '');
  if (values.length === 0) return 'none';
  const times = values.filter((value) => readInstant(value).kind === 'instant').length;
  if (times > 0) return times === values.length ? 'times' : 'mixed';
  return values.every(isPosition) ? 'positions' : 'other';
}

/** Seconds such as `12.5`, or `00:01:30`; not `20260118`, which is a date. */
const isPosition = (value: string | number): boolean =>
  typeof value === 'number' || /^-?\d+(?:\.\d+)?$/.test(value.trim())
    ? !/^(?:19|20)\d{6}$/.test(String(value).trim())
    : /^\d{1,2}:\d{2}(?::\d{2})?(?:[.,]\d+)?$/.test(value.trim());

/** @param unseen what is assumed of a number whose values were not read, and that may be a position */
function holdsTimes(table: StoreTable, column: string, unseen: boolean): boolean {
  const declared = declaredAs(typeOf(table, column));
  if (declared === 'other') return false;
  if (declared === 'time') return true;
  const content = contentOf(table, column);
  if (content === 'times') return true;
  const name = snakeOf(column);
  if (isTimeName(column)) return content !== 'positions';
  if (content === 'positions' || content === 'other') return false;
  if (content === 'mixed') return timeWords.test(name) || eitherNames.test(name);
  if (!eitherNames.test(name)) return timeWords.test(name);
  if (content === 'unseen') return unseen || declared === 'text';
  // An empty column is one of times if another that is named like it is.
  return table.columns.some(
    (each) => eitherNames.test(snakeOf(each.name)) && contentOf(table, each.name) === 'times',
  );
}

/** The first column with one of these names that holds times, and takes them. */
export function findTime(table: StoreTable, names: readonly string[]): string | null {
  for (const name of names) {
    const column = table.columns.find((each) => snakeOf(each.name) === name);
    if (column === undefined || !holdsTimes(table, column.name, false)) continue;
    if (isNumberOfNothing(table, column.name)) continue;
    return column.name;
  }
  return null;
}

/** An empty column of numbers, in a table that writes no time as a number. */
const isNumberOfNothing = (table: StoreTable, column: string): boolean =>
  declaredAs(typeOf(table, column)) === 'number' &&
  contentOf(table, column) === 'none' &&
  !table.columns.some(({ name }) => ownValue(table.times, name)?.some(isEpoch));

const isEpoch = (value: string | number): boolean =>
  typeof value === 'number' && readInstant(value).kind === 'instant';

const timeRoles = ['created', 'started', 'completed', 'updated'] as const;

/** Every column with times: what changes in one of them shows that the row is being worked on. */
export function timeColumns(table: StoreTable, spec: TableSpec = {}): readonly string[] {
  const named = timeRoles
    .map((role) => spec[role] ?? (spec[role] === null ? null : findTime(table, columnNames[role])))
    .filter((name) => name !== null);
  const others = table.columns
    .map(({ name }) => name)
    .filter((name) => holdsTimes(table, name, true) && !isDenied(table, name, spec));
  return [...new Set([...named, ...others])];
}

/** Columns of a role for which `stores` says that there is none. */
const isDenied = (table: StoreTable, column: string, spec: TableSpec): boolean =>
  timeRoles.some((role) => spec[role] === null && findTime(table, columnNames[role]) === column);

/** The time columns that show when somebody worked on a row. */
export const ageColumns = (table: StoreTable, spec: TableSpec = {}): readonly string[] =>
  timeColumns(table, spec).filter(isSignOfLife);
