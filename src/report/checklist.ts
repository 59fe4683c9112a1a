import type { Plan } from '../model/operation.ts';
import type { Outcome, Step } from '../model/outcome.ts';
import type { Check } from '../model/verdict.ts';
import { escapeMarkdown, sanitizeLogLine, toOneLine } from './escape.ts';

/** A line of the task list: `- [x] swap: 2 GiB at /swapfile, priority -2`. */
export interface ChecklistItem {
  /** Ticked: the host is in this state now. */
  readonly done: boolean;
  readonly text: string;
  /** Why it is not ticked, or what is unusual about it; may be empty. */
  readonly note: string;
}

/** The plan as a task list, ticked by result. `null`: nothing was applied (dry run). */
export function checklistOf(plan: Plan, outcome: Outcome | null): readonly ChecklistItem[] {
  const satisfied = plan.satisfied.map((text) => ({ done: true, text, note: '' }));
  const operations = plan.operations.map((operation, index) => {
    if (outcome === null) return { done: false, text: operation.title, note: 'planned' };
    const step = outcome.steps.findLast((candidate) => candidate.index === index);
    return itemOf(operation.title, step, outcome);
  });
  return [...satisfied, ...operations];
}

/** The checks of a verdict as a task list. */
export function checklistOfChecks(checks: readonly Check[]): readonly ChecklistItem[] {
  return checks.map((check) => ({
    done: check.verdict === 'pass' || check.verdict === 'warn',
    text: check.seen === '' ? check.title : `${check.title}: ${check.seen}`,
    note: noteOfCheck(check),
  }));
}

/** Plain text for the log, one line per item. */
export function renderChecklistText(items: readonly ChecklistItem[]): string {
  return items
    .map(({ done, text, note }) => {
      const line = `- [${done ? 'x' : ' '}] ${toOneLine(text)}`;
      return sanitizeLogLine(note === '' ? line : `${line} (${toOneLine(note)})`);
    })
    .join('\n');
}

/** Markdown for the job summary. */
export function renderChecklistMarkdown(items: readonly ChecklistItem[]): string {
  return items
    .map(({ done, text, note }) => {
      const line = `- [${done ? 'x' : ' '}] ${escapeMarkdown(text)}`;
      return note === '' ? line : `${line} (**${escapeMarkdown(note)}**)`;
    })
    .join('\n');
}

function itemOf(title: string, step: Step | undefined, outcome: Outcome): ChecklistItem {
  if (step === undefined) {
    const note = outcome.result === 'committed' ? 'no result reported' : 'not run';
    return { done: false, text: title, note };
  }
  const said = step.message.trim();
  const text = said === '' || said === title ? title : `${title}: ${said}`;
  switch (step.status) {
    case 'done':
      // The message says what the host did, the title only what was planned.
      return { done: true, text: said === '' ? title : said, note: '' };
    case 'already':
      return { done: true, text: title, note: 'already in place' };
    case 'failed':
      return { done: false, text, note: 'failed' };
    case 'undone':
      return { done: false, text, note: 'undone' };
    case 'not-undone':
      return { done: false, text, note: 'could not be undone' };
    case 'skipped':
      return { done: false, text: title, note: 'not run' };
  }
}

function noteOfCheck(check: Check): string {
  switch (check.verdict) {
    case 'pass':
      return '';
    case 'warn':
      return 'warning';
    case 'fail':
      return check.expected === '' ? 'failed' : `failed, expected ${check.expected}`;
    case 'unknown':
      return 'unknown';
  }
}
