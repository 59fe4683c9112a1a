import type { LedgerRelease } from '../model/facts/ledger.ts';
import { formatBytes, formatDuration, formatInstant } from '../model/quantities.ts';
import type { SoakComparison, SoakHour, SoakReport, SoakVerdict } from '../model/soak.ts';
import type { ChecklistItem } from './checklist.ts';
import type { SummaryDetail, SummaryTable } from './summary.ts';

/** What is known of the release that is told about. */
export interface SoakScene {
  readonly release: LedgerRelease | null;
  readonly sampling: boolean;
  readonly verdict: SoakVerdict | null;
}

/** The state of the release in one sentence. */
export function describeSoakState(
  state: SoakReport['state'],
  { release, sampling, verdict }: SoakScene,
  isWanted: boolean,
): string {
  if (release === null) return 'Nothing to prove: no release of Celeriac is running.';
  const name = `Release ${release.release}`;
  const since = formatInstant(release.since);
  switch (state) {
    case 'awaiting':
      return `${name} has been awaiting its verdict since ${since}: verify confirms it, or the host rolls it back.`;
    case 'superseded':
      return `${name} is no longer the release to prove: run this again.`;
    case 'unproven':
      if (!isWanted || verdict === null) {
        return `${name} has been unproven since ${since}, and stays so: \`soak-hours\` is 0.`;
      }
      if (!sampling) {
        return `${name} cannot be proven: the host takes no samples of it. Deploy again with \`soak-hours\`.`;
      }
      return `${name}: ${verdict.sentence}`;
    default:
      return verdict === null
        ? `${name} is ${state} since ${since} (${release.by}): ${release.soakWhy}`
        : `${name}: ${verdict.sentence}`;
  }
}

/** A line for each thing that must not happen. */
export const soakChecklist = ({ verdict }: Pick<SoakReport, 'verdict'>): readonly ChecklistItem[] =>
  (verdict?.aspects ?? []).map(({ title, seen, verdict: said }) => ({
    done: said === 'pass' || said === 'warn',
    text: `${title}: ${seen}`,
    note: { pass: '', warn: 'allowed', fail: 'failed', unknown: 'not known' }[said],
  }));

/** For a log or a terminal. */
export function renderSoakText(report: SoakReport): readonly string[] {
  const { verdict } = report;
  const lines =
    verdict === null
      ? []
      : [
          ...(verdict.hours.length === 0 ? [] : [`hours  ${renderStrip(verdict.hours)}`]),
          ...(verdict.earliestEnd === null
            ? []
            : [`end    ${formatInstant(verdict.earliestEnd)}, if nothing fails`]),
          ...soakChecklist(report).map(
            ({ done, text, note }) =>
              `- [${done ? 'x' : ' '}] ${text}${note === '' ? '' : ` (${note})`}`,
          ),
        ];
  return [
    ...lines,
    ...detailsOfSoak(report).flatMap(({ title, text }) => [
      title,
      ...text.split('\n').map((line) => `  ${line}`),
    ]),
    ...comparisonLines(report),
  ];
}

/** One sign for each hour: `#` without a failure, `!` with one, `~` partly and `.` without evidence. */
export const renderStrip = (hours: readonly SoakHour[]): string =>
  hours
    .map(({ coveredSeconds, gapSeconds, failingMinutes }) => {
      if (failingMinutes > 0) return '!';
      if (coveredSeconds === 0) return '.';
      return gapSeconds > 0 ? '~' : '#';
    })
    .join('');

/** What happened, folded away in the summary. */
export function detailsOfSoak({
  verdict,
  comparison,
}: Pick<SoakReport, 'verdict' | 'comparison'>): readonly SummaryDetail[] {
  if (verdict === null) return [];
  const { faults, gaps, notes } = verdict;
  const parts: readonly (readonly [title: string, lines: readonly string[]])[] = [
    ['Failing minutes', faults.map(({ at, sentence }) => `${formatInstant(at)}  ${sentence}`)],
    [
      'Gaps',
      gaps.map(({ from, to, why }) => {
        const length = formatDuration(Math.max(0, to - from));
        return `${formatInstant(from)}  ${length}: ${why}`;
      }),
    ],
    ['Remarks', [...notes, ...(comparison?.notKnown ? [comparison.notKnown] : [])]],
  ];
  return parts
    .filter(([, lines]) => lines.length > 0)
    .map(([title, lines]) => ({ title, text: lines.join('\n') }));
}

/** This release beside the last proven one; `null`: there is none. */
export function tableOfComparison({
  comparison,
}: Pick<SoakReport, 'comparison'>): SummaryTable | null {
  if (comparison === null || comparison.rows.length === 0) return null;
  return {
    columns: ['', `release ${comparison.release}, proven`, 'this release', ''],
    rows: comparison.rows.map((row) => [
      row.title,
      formatFigure(row.before, row.unit),
      formatFigure(row.now, row.unit),
      row.trend ?? '',
    ]),
  };
}

function comparisonLines(report: SoakReport): readonly string[] {
  const table = tableOfComparison(report);
  if (table === null) return [];
  return [
    `Beside release ${report.comparison?.release}, the last proven one`,
    ...table.rows.map(([title, before, now, trend]) => {
      const end = trend === '' ? '' : ` (${trend})`;
      return `  ${title}: ${before} → ${now}${end}`;
    }),
  ];
}

/** `300 MiB`, `12 an hour`, `0`, `not known`. */
export function formatFigure(value: number | null, unit: SoakComparison['unit']): string {
  if (value === null) return 'not known';
  switch (unit) {
    case 'bytes':
      return formatBytes(value);
    case 'seconds':
      return formatDuration(value);
    case 'per-hour':
      return `${value} an hour`;
    case 'count':
      return String(value);
  }
}
