import type { JournalFact, LoggedFact } from '../model/facts/journal.ts';
import { formatCount, formatInstant } from '../model/quantities.ts';
import { toOneLine } from './escape.ts';

/** What a unit logged, errors grouped. */
export interface LogsReport {
  readonly unit: string;
  readonly since: LoggedFact['since'];
  readonly entries: number;
  /** Lines that journald dropped: the counts are lower bounds. */
  readonly dropped: number;
  /** Whether all lines were read, not only the newest. */
  readonly complete: boolean;
  readonly errors: number;
  readonly tracebacks: number;
  readonly signatures: LoggedFact['signatures'];
  readonly moreSignatures: number;
  /** HTTP statuses 429. */
  readonly rateLimited: {
    readonly count: number;
    readonly busiest: { readonly at: number; readonly count: number } | null;
  };
  /** The last lines. */
  readonly tail: JournalFact['tail'];
}

/** `celeriac logs`. */
export function renderLogs(report: LogsReport): string {
  const { unit, since, entries, errors, tracebacks, rateLimited, signatures, tail } = report;
  const from = since === null ? '' : ` since ${formatInstant(since)}`;
  const busiest =
    rateLimited.busiest === null
      ? ''
      : `, ${rateLimited.busiest.count} in the minute from ${formatInstant(rateLimited.busiest.at)}`;
  return [
    `${unit}: ${formatCount(entries, 'line')}${from}${boundsOf(report)}`,
    `${formatCount(errors, 'error')} (${formatCount(tracebacks, 'traceback')}), HTTP 429: ${rateLimited.count}${busiest}`,
    ...signatures.flatMap((each) => ['', ...signatureLines(each)]),
    ...(report.moreSignatures > 0
      ? ['', `and ${formatCount(report.moreSignatures, 'error')} of other kinds`]
      : []),
    ...(tail.length === 0
      ? []
      : ['', 'last lines:', ...tail.map((line) => `  ${toOneLine(line)}`)]),
    '',
  ].join('\n');
}

function boundsOf({ dropped, complete }: LogsReport): string {
  return [
    ...(dropped > 0 ? [`; journald dropped ${formatCount(dropped, 'line')}`] : []),
    ...(complete ? [] : ['; only the newest were read']),
  ].join('');
}

function signatureLines(each: LoggedFact['signatures'][number]): readonly string[] {
  const { signature, count, first, last, sample, before } = each;
  const when =
    count === 1 ? formatInstant(first) : `${formatInstant(first)} to ${formatInstant(last)}`;
  const news = before === 0 ? ', new since this release' : '';
  return [`${count} × ${toOneLine(signature)}${news}`, `    ${when}`, `    ${toOneLine(sample)}`];
}
