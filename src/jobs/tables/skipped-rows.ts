import type { Finding } from '../../model/operation.ts';
import { type JobRow, nameRow } from './job-forest.ts';

/** A row that is skipped although it, or a related row, looks stuck. */
export interface LeftRow {
  readonly row: JobRow;
  /** `age unknown`; empty where `says` is enough. */
  readonly why: string;
  /** A line about this row, with its name; or a reason that several rows share, without. */
  readonly says: { readonly line: string } | { readonly because: string };
  readonly level: Finding['level'];
  /** It is repaired together with its parent, if that is stuck. */
  readonly yields?: true;
}

/** What a repair does to rows. */
export interface Touched {
  /** The row gets another status, or is deleted. */
  readonly changed: (row: JobRow) => boolean;
  /** Only its counters are updated. */
  readonly counted: (row: JobRow) => boolean;
}

export const untouched: Touched = { changed: () => false, counted: () => false };

/** The longest list in one finding. */
const shown = 10;

/**
 * Reports the skipped rows by what really happens to them: a row whose counters are updated is not
 * reported as skipped, and one that is repaired with its parent is not reported at all.
 */
export function reportLeft(left: readonly LeftRow[], touched: Touched): readonly Finding[] {
  const groups = new Map<string, LeftRow[]>();
  for (const each of left) {
    if (touched.changed(each.row)) continue;
    const what = touched.counted(each.row) ? 'only counters change' : 'skipped';
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
