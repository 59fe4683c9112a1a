import type { RowChange, SqlValue } from '../model/operation/jobs.ts';
import type { Finding, Operation, Plan } from '../model/operation.ts';
import { formatCount, formatList } from '../model/quantities.ts';
import {
  codeFence,
  codeSpan,
  escapeMarkdown,
  indent,
  sanitizeLogLine,
  stripControls,
  toOneLine,
} from './escape.ts';

/** Rows of a repair that are listed one by one. */
const shownRows = 200;

/** A plan as text for the log; this is what a dry run shows. */
export function renderPlanText(plan: Plan): string {
  const lines = [headline(plan)];
  plan.operations.forEach((operation, index) => {
    lines.push(`  ${index + 1}. ${story(operation)}`);
    const detail = detailOf(operation);
    if (detail !== null) lines.push(indent(stripControls(detail.text), '       '));
  });
  lines.push(...plan.satisfied.map((line) => `  - [x] ${toOneLine(line)}`));
  for (const finding of plan.findings) {
    const where = finding.where === undefined ? '' : ` (${toOneLine(finding.where)})`;
    lines.push(`  ${finding.level}: ${toOneLine(finding.message)}${where}`);
  }
  return sanitizeLogLine(lines.join('\n'));
}

/** The same as Markdown, with fenced diffs. */
export function renderPlanMarkdown(plan: Plan): string {
  const parts = [escapeMarkdown(headline(plan))];
  const operations = plan.operations.map((operation, index) => {
    const marker = `${index + 1}. `;
    const line = `${marker}**${escapeMarkdown(operation.title)}** — ${escapeMarkdown(operation.why)}`;
    const detail = detailOf(operation);
    if (detail === null) return line;
    const block = codeFence(detail.text, detail.language);
    return `${line}\n\n${indent(block, ' '.repeat(marker.length))}\n`;
  });
  if (operations.length > 0) parts.push(operations.join('\n').trimEnd());
  if (plan.satisfied.length > 0) {
    parts.push(plan.satisfied.map((line) => `- [x] ${escapeMarkdown(line)}`).join('\n'));
  }
  if (plan.findings.length > 0) parts.push(renderFindings(plan.findings));
  return parts.join('\n\n');
}

/** Findings as a Markdown list. */
export function renderFindings(findings: readonly Finding[]): string {
  return findings
    .map(({ level, message, where }) => {
      const place = where === undefined ? '' : ` (${codeSpan(where)})`;
      return `- **${level}**: ${escapeMarkdown(message)}${place}`;
    })
    .join('\n');
}

function headline(plan: Plan): string {
  return plan.operations.length === 0
    ? describeIdle(plan)
    : `${formatCount(plan.operations.length, 'operation')}, in this order; if one fails, all are undone in reverse:`;
}

/** `Not as desired: swap and vm.swappiness, …` */
export const describeUnmet = (unmet: readonly string[]): string =>
  `Not as desired: ${formatList(unmet)}, which cannot be changed on this host; the warnings say why.`;

/** Why a plan has no operations, in one sentence. */
export function describeIdle({ skippedRows = 0, unmet = [] }: Plan): string {
  if (unmet.length > 0) return `Nothing was changed. ${describeUnmet(unmet)}`;
  if (skippedRows === 0) return 'Nothing to do: the host is in the desired state.';
  const rows =
    skippedRows === 1 ? '1 row that looks stuck was' : `${skippedRows} rows that look stuck were`;
  return `Nothing was repaired: ${rows} skipped, for the reasons given.`;
}

const story = (operation: Operation): string =>
  `${toOneLine(operation.title)} — ${toOneLine(operation.why)}`;

interface Detail {
  readonly text: string;
  readonly language: string;
}

/**
 * The text that changes, or the rows: a dry run shows everything that apply does.
 *
 * @returns `null`: neither
 */
export function detailOf(operation: Operation): Detail | null {
  if (operation.diff !== undefined && operation.diff !== '') {
    return { text: operation.diff, language: 'diff' };
  }
  if (operation.op !== 'repair-jobs') return null;
  const rows = operation.rows.slice(0, shownRows).map(describeRow);
  const hidden = operation.rows.length - rows.length;
  if (hidden > 0) rows.push(`… and ${formatCount(hidden, 'more row')}`);
  return { text: rows.join('\n'), language: '' };
}

/** `jobs 77cfa3cd…: status 'processing' → 'pending'`. */
function describeRow(row: RowChange): string {
  const name = `${toOneLine(row.table)} ${toOneLine(String(row.id))}`;
  if (row.change.kind === 'delete') return `${name}: deleted`;
  if (row.change.kind === 'keep') return `${name}: not changed, only compared with the plan`;
  const changes = Object.entries(row.change.set).map(([column, value]) => {
    const before = row.seen[column];
    const from = before === undefined ? '' : `${showValue(before)} `;
    return `${toOneLine(column)} ${from}→ ${showValue(value)}`;
  });
  return `${name}: ${changes.join(', ')}`;
}

function showValue(value: SqlValue): string {
  if (value === null) return 'null';
  return typeof value === 'number' ? String(value) : `'${toOneLine(value)}'`;
}
