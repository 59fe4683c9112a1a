import { escapeMarkdown, toOneLine } from '../report/escape.ts';
import { formatDuration } from '../report/quantities.ts';
import { shortId } from './job-forest.ts';
import type { RepairedRow } from './repair.ts';

const head = ['table', 'id', 'status', 'becomes', 'age', 'why'] as const;

/** Rows of the longest table; the rest is counted. */
const shown = 200;

/** The rows of a repair, for a job summary or for a log. */
export function renderRepairTable(
  rows: readonly RepairedRow[],
  style: 'markdown' | 'plain',
): string {
  if (rows.length === 0) return '';
  const cells = rows.slice(0, shown).map(readCells);
  const rest = rows.length > shown ? `… and ${rows.length - shown} rows more` : '';
  const lines = style === 'markdown' ? markdownLines(cells) : plainLines(cells);
  return [...lines, ...(rest ? ['', rest] : [])].join('\n');
}

function readCells(row: RepairedRow): string[] {
  const becomes = row.becomes === row.status ? '(counters)' : row.becomes;
  const age = row.ageSeconds === null ? '' : formatDuration(row.ageSeconds);
  return [row.table, shortId(row.id), row.status, becomes, age, row.why].map(toOneLine);
}

function markdownLines(cells: readonly string[][]): string[] {
  const line = (row: readonly string[]): string => `| ${row.map(escapeMarkdown).join(' | ')} |`;
  return [line(head), `|${' --- |'.repeat(head.length)}`, ...cells.map(line)];
}

function plainLines(cells: readonly string[][]): string[] {
  const all = [[...head], ...cells];
  const widths = head.map((_, index) => Math.max(...all.map((row) => row[index]?.length ?? 0)));
  return all.map((row) =>
    row
      .map((cell, index) => cell.padEnd(widths[index] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}
