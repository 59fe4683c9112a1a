import type { Verdict } from '../model/verdict.ts';
import { checklistOfChecks, renderChecklistText } from './checklist.ts';
import { indent, sanitizeLogLine, toOneLine } from './escape.ts';

/** A verdict for the log: each check; for those that did not pass, the evidence and the next step. */
export function renderVerdictText(verdict: Verdict): string {
  const blocks = verdict.checks.map((check) => {
    const line = renderChecklistText(checklistOfChecks([check]));
    if (check.state === 'passed') return line;
    const details = check.evidence.map(toOneLine).filter((text) => text !== '');
    if (check.next !== '') details.push(`next: ${toOneLine(check.next)}`);
    return details.length === 0 ? line : `${line}\n${indent(details.join('\n'), '      ')}`;
  });
  return sanitizeLogLine(blocks.join('\n'));
}
