import { formatDuration } from '../../model/quantities.ts';
import { toOneLine } from '../../report/escape.ts';
import { shortId } from '../tables/job-forest.ts';
import type { RepairedRow } from './changes.ts';

const head = ['table', 'id', 'status', 'becomes', 'age', 'why'] as const;

/** Rows shown per table; the rest is only counted. */
const shown = 200;

/** The rows of a repair as a table of plain text. */
export function renderRepairTable(rows: readonly RepairedRow[]): string {
  if (rows.length === 0) return '';
  const short = countShortIds(rows);
  const cells = rows.slice(0, shown).map((row) => readCells(row, short));
  const rest = rows.length > shown ? `… and ${rows.length - shown} more rows` : '';
  return [...alignColumns(cells), ...(rest ? ['', rest] : [])].join('\n');
}

const shortKey = (row: RepairedRow): string => `${row.table} ${shortId(row.id)}`;

function countShortIds(rows: readonly RepairedRow[]): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const row of rows) counts.set(shortKey(row), (counts.get(shortKey(row)) ?? 0) + 1);
  return counts;
}

/** Ids are shortened where they stay unique within their table. */
function readCells(row: RepairedRow, short: ReadonlyMap<string, number>): string[] {
  const id = short.get(shortKey(row)) === 1 ? shortId(row.id) : String(row.id);
  const becomes = row.becomes === row.status ? '(counters)' : row.becomes;
  const age = row.ageSeconds === null ? '' : formatDuration(row.ageSeconds);
  return [row.table, id, row.status, becomes, age, row.why].map(toOneLine);
}

function alignColumns(cells: readonly string[][]): string[] {
  const all = [[...head], ...cells];
  const widths = head.map((_, index) => Math.max(...all.map((row) => row[index]?.length ?? 0)));
  return all.map((row) =>
    row
      .map((cell, index) => cell.padEnd(widths[index] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}
