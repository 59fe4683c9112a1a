import { formatBytes, formatCount, formatDuration } from '../model/quantities.ts';
import type { Report } from '../model/report.ts';
import type { SoakComparison } from '../model/soak.ts';
import type { Check } from '../model/verdict.ts';
import { codeFence, escapeHtml, silentMarkdown } from './escape.ts';
import { marksMermaid, memoryMermaid } from './mermaid.ts';
import {
  detailsOfChecks,
  renderChecks,
  renderTable,
  type SummaryContent,
  type SummaryDetail,
} from './summary.ts';
import { taskListOf } from './task-list.ts';

const worstFirst = ['fail', 'unknown', 'warn', 'pass'] as const;

/**
 * The report as the parts of a job summary. Of a worker that is well everything but the task list is
 * folded away.
 */
export function summaryOfReport(
  report: Report,
): Required<Pick<SummaryContent, 'checklist' | 'markdown' | 'details'>> {
  const checks = worstFirst.flatMap((verdict) =>
    report.checks.filter((check) => check.verdict === verdict),
  );
  const isOpen = report.verdict.conclusion !== 'healthy';
  const parts = [
    fold(
      formatCount(checks.length, 'check'),
      checks.length === 0 ? '' : renderChecks(checks),
      isOpen,
    ),
    fold(titleOfTime(report), renderTime(report), isOpen),
    fold('Latency of the probes', renderLatency(report), false),
    fold('Compared with the last proven release', renderComparison(report), false),
    unitDiff(report),
  ];
  return {
    checklist: taskListOf(report),
    markdown: parts.filter((part) => part !== '').join('\n\n'),
    details: evidenceOf(checks),
  };
}

function fold(title: string, body: string, isOpen: boolean): string {
  if (body === '') return '';
  const open = isOpen ? ' open' : '';
  return `<details${open}>\n<summary>${escapeHtml(title)}</summary>\n\n${body}\n\n</details>`;
}

/** Of checks that passed it says nothing new. */
const evidenceOf = (checks: readonly Check[]): readonly SummaryDetail[] =>
  detailsOfChecks(checks.filter(({ verdict }) => verdict !== 'pass'));

function titleOfTime({ timeline }: Report): string {
  return timeline === null
    ? 'What happened'
    : `Memory over ${formatDuration(timeline.to - timeline.from)}, and what happened`;
}

function renderTime(report: Report): string {
  const memory = report.timeline === null ? '' : memoryMermaid(report.timeline);
  return [memory, marksMermaid(report)].filter((part) => part !== '').join('\n\n');
}

function renderLatency({ latency }: Report): string {
  if (latency === null || latency.length === 0) return '';
  const time = (value: number | null): string => (value === null ? '' : formatDuration(value));
  return renderTable({
    columns: ['queue', 'done', 'median', 'slowest'],
    rows: latency.map(({ where, done, sent, median, slowest }) => [
      where,
      `${done} of ${sent}`,
      time(median),
      time(slowest),
    ]),
  });
}

function renderComparison({ comparison }: Report): string {
  if (comparison === null || comparison.rows.length === 0) return '';
  const table = renderTable({
    columns: ['measure', `release ${comparison.release}`, 'now', 'trend'],
    rows: comparison.rows.map(({ title, unit, before, now, trend }) => [
      title,
      formatFigure(before, unit),
      formatFigure(now, unit),
      trend ?? 'not known',
    ]),
  });
  return comparison.notKnown === '' ? table : `${table}\n\n${silentMarkdown(comparison.notKnown)}`;
}

function unitDiff({ unitDiff: diff }: Report): string {
  if (diff === null || diff.text === '') return '';
  const cut = diff.cut ? '\n\nParts are too long to be shown.' : '';
  const body = `${codeFence(diff.text, 'diff')}${cut}`;
  return fold(`Changes of the unit by release ${diff.release}`, body, false);
}

function formatFigure(value: number | null, unit: SoakComparison['unit']): string {
  if (value === null) return 'not known';
  const rounded = String(Math.round(value * 100) / 100);
  switch (unit) {
    case 'bytes':
      return formatBytes(value);
    case 'seconds':
      return formatDuration(value);
    case 'count':
      return rounded;
    case 'per-hour':
      return `${rounded} an hour`;
  }
}
