import type { Plan } from '../model/operation.ts';
import type { Outcome } from '../model/outcome.ts';
import { formatCount, formatDuration, formatInstant } from '../model/quantities.ts';
import type { Check, CheckVerdict, Conclusion, Verdict } from '../model/verdict.ts';
import { type ChecklistItem, renderChecklistMarkdown } from './checklist.ts';
import { capMarkdown, codeFence, escapeHtml, escapeMarkdown, toOneLine } from './escape.ts';
import { describeIdle, describeUnmet } from './plan-view.ts';

/** Network cost of a run, as counted by the agent session. */
export interface WireCost {
  readonly handshakes: number;
  readonly execs: number;
  /** Requests sent; each has one answer. */
  readonly messagesSent: number;
}

/** A collapsed section of the summary. */
export interface SummaryDetail {
  readonly title: string;
  /** Shown verbatim, in a code fence. */
  readonly text: string;
  /** Language of the fence: `diff`, `ini`, or empty. */
  readonly language?: string;
}

export interface SummaryTable {
  readonly columns: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

export interface SummaryContent {
  /** `deploy-worker`. */
  readonly action: string;
  /** `celery-worker.service`, `/swapfile`…; `null`: the host as a whole. */
  readonly subject: string | null;
  /** As the user gave it. */
  readonly host: string;
  /** The verdict in one sentence. */
  readonly sentence: string;
  readonly checklist: readonly ChecklistItem[];
  /** Rendered Markdown below the checklist, e.g. from `renderPlanMarkdown`. */
  readonly markdown?: string;
  readonly table?: SummaryTable;
  readonly checks?: readonly Check[];
  readonly details?: readonly SummaryDetail[];
  readonly cost?: { readonly wire: WireCost; readonly seconds: number };
}

/** Longer lines of evidence are cut, so that one line cannot use up the whole summary. */
const shownCharacters = 2000;

/** The job summary of one action, in Markdown, within GitHub's limit. */
export function renderSummary(content: SummaryContent): string {
  const subject = content.subject === null ? '' : `${content.subject} on `;
  const checks = content.checks ?? [];
  const parts = [
    `### ${escapeMarkdown(content.action)} · ${escapeMarkdown(subject + content.host)}`,
    escapeMarkdown(content.sentence),
    renderChecklistMarkdown(content.checklist),
    content.markdown ?? '',
    content.table === undefined ? '' : renderTable(content.table),
    checks.length === 0 ? '' : renderChecks(checks),
    ...[...detailsOfChecks(checks), ...(content.details ?? [])].map(renderDetail),
    content.cost === undefined
      ? ''
      : `<sub>${describeCost(content.cost.wire, content.cost.seconds)}</sub>`,
  ];
  return capMarkdown(`${parts.filter((part) => part !== '').join('\n\n')}\n`);
}

/** `1 handshake, 1 exec, 3 messages, 1.7 s`. */
export function describeCost(wire: WireCost, seconds: number): string {
  return [
    formatCount(wire.handshakes, 'handshake'),
    formatCount(wire.execs, 'exec'),
    formatCount(wire.messagesSent, 'message'),
    formatDuration(seconds),
  ].join(', ');
}

/** The result of a run that changes things, in one sentence. `null`: it was a dry run. */
export function describeOutcome(plan: Plan, outcome: Outcome | null): string {
  const count = formatCount(plan.operations.length, 'operation');
  if (plan.operations.length === 0) return describeIdle(plan);
  const unmet = plan.unmet === undefined ? '' : ` ${describeUnmet(plan.unmet)}`;
  if (outcome === null) return `Dry run: ${count} planned, nothing was changed.${unmet}`;
  switch (outcome.result) {
    case 'committed':
      return `Done: ${count}, ${nameOf(outcome)}.${describeWait(outcome)}${unmet}`;
    case 'undone':
      return describeUndone(outcome);
    case 'undo-failed':
      return `Failed, and not all of it could be undone: see transaction ${outcome.transaction} on the host.`;
  }
}

/** `release 3 (transaction 2026…)`: a rollback takes either. */
const nameOf = ({ release, transaction }: Outcome): string =>
  release === undefined
    ? `transaction ${transaction}`
    : `release ${release} (transaction ${transaction})`;

/** What people must still do, or what rightly stays of an undone step, in the steps' own words. */
export const todosOf = ({ steps }: Outcome): readonly string[] =>
  steps.flatMap(({ status, message, todo }) => {
    if (todo !== undefined) return [todo];
    return status === 'undone' && stays.test(message) ? [message] : [];
  });

/** How an undo says that it left a part as it is. */
const stays =
  /\b(?:not (?:restored|removed|started again|cancelled)|could not remove|skipped, changed since)\b/;

function describeUndone(outcome: Outcome): string {
  const todos = todosOf(outcome);
  return todos.length === 0
    ? `Failed and undone: the host is as it was before transaction ${outcome.transaction}.`
    : `Failed and undone (transaction ${outcome.transaction}), but not everything is as before: ${todos.join('; ')}.`;
}

/** Stated explicitly: a rollback would surprise anyone who runs deploy-worker without verify. */
function describeWait({ confirmBy }: Outcome): string {
  return confirmBy === undefined
    ? ''
    : ` It awaits its verdict: unless verify confirms it by ${formatInstant(confirmBy)}, the host rolls back automatically.`;
}

const conclusions = {
  healthy: 'Healthy',
  unhealthy: 'Not healthy',
  inconclusive: 'Inconclusive',
} as const satisfies Readonly<Record<Conclusion, string>>;

/** `Healthy: 12 checks passed, 1 warning, 1 unknown.` */
export function describeVerdict({ conclusion, checks }: Verdict): string {
  const count = (wanted: CheckVerdict): number =>
    checks.filter(({ verdict }) => verdict === wanted).length;
  const failed = count('fail');
  const parts = [
    ...(failed > 0 ? [`${formatCount(failed, 'check')} failed`] : []),
    failed > 0 ? `${count('pass')} passed` : `${formatCount(count('pass'), 'check')} passed`,
    ...(count('warn') > 0 ? [formatCount(count('warn'), 'warning')] : []),
    ...(count('unknown') > 0 ? [`${count('unknown')} unknown`] : []),
  ];
  return `${conclusions[conclusion]}: ${parts.join(', ')}.`;
}

/** A Markdown table; every cell is escaped. */
export function renderTable(table: SummaryTable): string {
  const row = (cells: readonly string[]): string => `| ${cells.map(escapeMarkdown).join(' | ')} |`;
  return [
    row(table.columns),
    `|${' --- |'.repeat(table.columns.length)}`,
    ...table.rows.map((cells) => row(cells.map(shorten))),
  ].join('\n');
}

/** A table of checks. */
export function renderChecks(checks: readonly Check[]): string {
  return renderTable({
    columns: ['check', 'verdict', 'seen', 'expected', 'next'],
    rows: checks.map(({ title, verdict, seen, expected, next }) => [
      title,
      verdict,
      seen,
      expected,
      next,
    ]),
  });
}

/** Their evidence, a collapsed section for each. */
export function detailsOfChecks(checks: readonly Check[]): readonly SummaryDetail[] {
  return checks
    .filter((check) => check.evidence.length > 0)
    .map((check) => ({
      title: `${check.title}: ${formatCount(check.evidence.length, 'line')} of evidence`,
      text: check.evidence.map((line) => shorten(toOneLine(line))).join('\n'),
    }));
}

function renderDetail({ title, text, language }: SummaryDetail): string {
  const fence = codeFence(text, language ?? '');
  return `<details>\n<summary>${escapeHtml(title)}</summary>\n\n${fence}\n\n</details>`;
}

const shorten = (text: string): string =>
  text.length > shownCharacters ? `${text.slice(0, shownCharacters)}… (cut)` : text;
