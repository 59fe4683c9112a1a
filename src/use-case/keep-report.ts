import { readSoakDesired } from '../config/soak-inputs.ts';
import type { Report } from '../model/report.ts';
import { escapeJson } from '../report/escape.ts';
import { renderPage, reportFiles } from '../report/page/page.ts';
import { summaryOfReport } from '../report/report-summary.ts';
import type { SummaryContent } from '../report/summary.ts';
import type { ActionRun } from './run.ts';
import type { ReportSubject } from './verify-report.ts';

export type SummaryParts = Pick<SummaryContent, 'checklist' | 'markdown' | 'checks' | 'details'>;

/** What the run knows of its report before it has looked. */
export function reportSubject(
  run: ActionRun<'verify'>,
): Pick<ReportSubject, 'host' | 'meta' | 'soakLimits' | 'secrets'> {
  const { inputs, secrets } = run;
  const { limits: soakLimits } = readSoakDesired(inputs);
  return { host: inputs.host, meta: run.meta(inputs.unit), soakLimits, secrets };
}

/**
 * Writes the report for later steps; returns what the job summary shows of it. No failure of it
 * changes a verdict.
 */
export async function keepReport(
  run: ActionRun<'verify'>,
  gather: () => Promise<Report>,
): Promise<SummaryParts | null> {
  const { inputs, reporter } = run;
  let folder = '';
  let parts: SummaryParts | null = null;
  try {
    const report = await gather();
    parts = summaryOfReport(report);
    folder = run.keepFiles(`celeriac-${inputs.unit}`, {
      [reportFiles.page]: renderPage(report),
      [reportFiles.json]: `${escapeJson(JSON.stringify(report, null, 2))}\n`,
    });
    reporter.info(`report: ${folder}`);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    reporter.warning(
      `could not write the report: ${why}; this does not affect the verdict`,
      'verify',
    );
  }
  reporter.output('report-path', folder);
  return parts;
}
