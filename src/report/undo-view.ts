import type { UndoingFact } from '../model/facts/ledger.ts';
import { formatCount } from '../model/quantities.ts';
import { indent, sanitizeLogLine, stripControls, toOneLine } from './escape.ts';
import { reverseDiff } from './reverse-diff.ts';

/** The plan of an undo as text: every step in its order, with the diff of the way back. */
export function renderUndoText(undoing: readonly UndoingFact[]): string {
  const steps = undoing.flatMap(({ id, steps: all }) => all.map((step) => ({ id, ...step })));
  const [only, ...others] = undoing;
  const whole = only !== undefined && others.length === 0;
  const lines = [
    `${formatCount(steps.length, 'step')} to undo${whole ? ` of transaction ${only.id}` : ''}, in this order; a file that changed since stops it before the first:`,
  ];
  steps.forEach(({ id, title, diff, cut, rows, rowCount }, index) => {
    const of = whole ? '' : ` (transaction ${id})`;
    lines.push(`  ${index + 1}. undo: ${toOneLine(title)}${of}`);
    const more = rowCount - rows.length;
    const detail = [
      cut ? '(its diff is too long to be shown)' : reverseDiff(diff),
      ...rows,
      ...(more > 0 ? [moreOf(rows.length, more)] : []),
    ];
    const shown = detail.filter((text) => text !== '').join('\n');
    if (shown !== '') lines.push(indent(stripControls(shown), '       '));
  });
  return sanitizeLogLine(lines.join('\n'));
}

const moreOf = (listed: number, more: number): string =>
  listed === 0
    ? `(${formatCount(more, 'row')}, not listed)`
    : `… and ${formatCount(more, 'more row')}`;
