import type { Finding } from '../../model/operation.ts';
import { type JobRow, nameRow } from './job-forest.ts';

/** A row that looks stuck, or hangs on one that does, and is not changed. */
export interface LeftRow {
  readonly row: JobRow;
  /** `its age is unknown`; empty where what is said of the row is enough. */
  readonly why: string;
  /** Of this row alone, with its name; or the same of several, without. */
  readonly says: { readonly line: string } | { readonly because: string };
  readonly level: Finding['level'];
  /** It goes with what is above it, where that is stuck. */
  readonly yields?: true;
}

/** What a repair does to rows. */
export interface Touched {
  /** They get another status, or go. */
  readonly changed: (row: JobRow) => boolean;
  /** The counters in them follow the rows below. */
  readonly counted: (row: JobRow) => boolean;
}

export const untouched: Touched = { changed: () => false, counted: () => false };

/** The longest list in one finding. */
const shown = 10;

/**
 * What is told of the rows that are left, by what really becomes of them: one whose counters follow
 * is not said to be left alone, and one that goes with what is above it is no matter.
 */
export function reportLeft(left: readonly LeftRow[], touched: Touched): readonly Finding[] {
  const groups = new Map<string, LeftRow[]>();
  for (const each of left) {
    if (touched.changed(each.row)) continue;
    const what = touched.counted(each.row) ? 'only counters change' : 'left alone';
    const kind = each.why === '' ? what : `${what}, ${each.why}`;
    groups.set(kind, [...(groups.get(kind) ?? []), each]);
  }
  return [...groups].map(([kind, rows]) => {
    const lines = linesOf(rows);
    const level = rows.some((each) => each.level === 'warning') ? 'warning' : 'notice';
    const more = lines.length > shown ? `; and ${lines.length - shown} more` : '';
    return { level, message: `${kind}: ${lines.slice(0, shown).join('; ')}${more}` };
  });
}

function linesOf(rows: readonly LeftRow[]): readonly string[] {
  const names = new Map<string, string[]>();
  const lines: string[] = [];
  for (const { row, says } of rows) {
    if ('line' in says) lines.push(says.line);
    else names.set(says.because, [...(names.get(says.because) ?? []), nameRow(row)]);
  }
  for (const [because, list] of names) {
    const more = list.length > shown ? ` and ${list.length - shown} more` : '';
    lines.push(`${list.slice(0, shown).join(', ')}${more}: ${because}`);
  }
  return lines;
}
