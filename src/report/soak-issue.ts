import type { IssueReport } from '../config/soak-issue-inputs.ts';
import { formatInstant } from '../model/quantities.ts';
import { codeFence, codeSpan, silentMarkdown, toOneLine } from './escape.ts';
import { formatFigure } from './soak-view.ts';

/** The issue about one release that failed. */
export interface SoakIssue {
  /** The first line of its body: the issue is found by it. */
  readonly marker: string;
  readonly title: string;
  /** How it was found to fail. */
  readonly account: string;
  /** Whether the account has the evidence: a later run knows only what the ledger says. */
  readonly isWhole: boolean;
  /** What became of it; the part that a later run changes. */
  readonly status: string;
}

const statusMarker = '<!-- celeriac-soak-status -->';
/** GitHub refuses longer ones. */
const bodyLimit = 65_536;

/** @returns `null`: the release did not fail, and nobody needs to know */
export function soakIssueOf(report: IssueReport): SoakIssue | null {
  const { release, unit, state, sentence, verdict, rolledBackTo, by } = report;
  if (release === null || state !== 'failed') return null;
  const evidence = verdict?.failure?.evidence ?? [];
  const sha = release.sha === '' ? '' : ` (${codeSpan(release.sha.slice(0, 12))})`;
  const run = runLink(by);
  const parts = [
    silentMarkdown(sentence),
    `Release ${release.number}${sha} of ${codeSpan(unit)}, deployed by ${codeSpan(release.actor === '' ? 'somebody' : release.actor)}, transaction ${codeSpan(release.transaction)}, failed at ${formatInstant(release.since)}.`,
    evidence.length === 0 ? '' : codeFence(evidence.map(toOneLine).join('\n'), 'text'),
    comparisonOf(report),
    (verdict?.notes ?? []).map((note) => `- ${silentMarkdown(note)}`).join('\n'),
  ];
  return {
    marker: `<!-- celeriac-soak: ${release.transaction} -->`,
    title: toOneLine(`Release ${release.number} of ${unit} failed its soak`),
    account: parts.filter((part) => part !== '').join('\n\n'),
    isWhole: verdict !== null,
    status:
      rolledBackTo === null
        ? `It is still running, as seen by ${run}. Deploy a release that fixes it, or roll it back.`
        : `It was rolled back by ${run}: release ${rolledBackTo}, the last proven one, runs again.`,
  };
}

/** Its body, when it is opened. */
export const openedBody = (issue: SoakIssue): string => assemble(issue, issue.account);

/** Its body, when it is there already: what it knows and this run does not is kept. */
export function updatedBody(issue: SoakIssue, before: string): string {
  const known = accountOf(before, issue.marker);
  return assemble(issue, issue.isWhole || known === '' ? issue.account : known);
}

const separator = `\n\n---\n\n${statusMarker}\n`;

function accountOf(body: string, marker: string): string {
  const text = body.replaceAll('\r\n', '\n');
  const end = text.indexOf(separator);
  return end < 0 ? '' : text.slice(marker.length, end).trim();
}

function assemble({ marker, status }: SoakIssue, account: string): string {
  const end = `${separator}${status}\n`;
  const room = bodyLimit - marker.length - end.length - 2;
  return `${marker}\n${account.slice(0, room)}${end}`;
}

function comparisonOf({ comparison }: IssueReport): string {
  if (comparison === null || comparison.rows.length === 0) return '';
  const rows = comparison.rows.map(({ title, unit, before, now, trend }) =>
    [title, formatFigure(before, unit), formatFigure(now, unit), trend ?? ''].map(silentMarkdown),
  );
  return [
    `| | release ${comparison.release}, proven | this release | |`,
    '|---|---|---|---|',
    ...rows.map((cells) => `| ${cells.join(' | ')} |`),
  ].join('\n');
}

const runLink = (by: string): string =>
  /^https:\/\/[^\s<>()[\]`]+$/.test(by) ? `[this run](${by})` : `a run of ${codeSpan(by)}`;
