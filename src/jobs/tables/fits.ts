import { byName, ownValue } from '../../model/by-name.ts';
import type { StoreColumn, StoreTable } from '../../model/facts/store.ts';
import type { ColumnFit, TableMapping } from '../../model/job-store.ts';
import { idFormOf } from './task-ids.ts';

/** What each column of a table takes, by its type, its NOT NULL and DEFAULT, and its CHECKs. */
export const fitsOf = ({ columns }: StoreTable): Readonly<Record<string, ColumnFit>> =>
  byName(columns.map((column) => [column.name, fitOf(column)]));

/** What a column takes; one of which nothing is known takes everything. */
export const fitFor = ({ fits }: Pick<TableMapping, 'fits'>, column: string): ColumnFit =>
  ownValue(fits, column) ?? { holds: 'text', longest: null, empty: null, ids: 'dashed' };

function fitOf(column: StoreColumn): ColumnFit {
  const holds = column.json === true ? 'json' : kindOf(column.type);
  const empty = emptyOf(column, holds);
  return {
    holds,
    longest: longestOf(column),
    ...(empty === undefined ? {} : { empty }),
    ids: idFormOf(column.type),
  };
}

/** A type that is unknown, an enum for instance, is none of text. */
function kindOf(type: string): ColumnFit['holds'] {
  if (/\[/.test(type)) return 'other';
  if (/json/i.test(type)) return 'json';
  // A SQLite column without a type takes everything.
  return type === '' || /char|text|clob|string|^name$/i.test(type) ? 'text' : 'other';
}

function longestOf({ type, longest }: StoreColumn): number | null {
  const declared = /char\w*(?: varying)?\s*\(\s*(\d+)/i.exec(type)?.[1];
  const limits = [declared === undefined ? [] : [Number(declared)], longest ?? []].flat();
  return limits.length === 0 ? null : Math.min(...limits);
}

function emptyOf(column: StoreColumn, holds: ColumnFit['holds']): ColumnFit['empty'] {
  if (column.notNull !== true) return null;
  const given = column.default === undefined ? undefined : readConstant(column.default);
  return given ?? (holds === 'text' ? '' : undefined);
}

/** The value of a DEFAULT that is a constant: `'none'::character varying`, `0`, `false`. */
function readConstant(expression: string): ColumnFit['empty'] {
  const text = /^'((?:[^']|'')*)'(?:::[^']+)?$/.exec(expression)?.[1];
  if (text !== undefined) return text.replaceAll("''", "'");
  if (/^-?\d+(?:\.\d+)?$/.test(expression)) return Number(expression);
  if (/^(?:true|false)$/i.test(expression)) return /true/i.test(expression) ? 1 : 0;
  return undefined;
}
