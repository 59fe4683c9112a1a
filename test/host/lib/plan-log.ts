import type { Transaction } from './worker.ts';

/** The plan as a run printed it: dry or applied, without the line that tells which. */
export function printedPlan(log: string): string {
  const [, plan] =
    /::group::[a-z-]+: the plan(?: \(dry run\))?\n(.*?)\n::endgroup::/s.exec(log) ?? [];
  if (plan === undefined) throw new Error(`no plan in this log:\n${log}`);
  // Ages grow between two runs.
  return plan.replace(/\b\d+ (?:d \d+ h|h \d+ min)\b/g, '(age)');
}

/** How the operations of a transaction read when they are printed as a plan. */
export function storyOf({ plan }: Transaction): string {
  const lines = plan.operations.flatMap(({ title, why, diff }, index) => [
    `  ${index + 1}. ${title} — ${why}`,
    ...(diff === undefined
      ? []
      : diff
          .replace(/\n$/, '')
          .split('\n')
          .map((line) => `       ${line}`)),
  ]);
  return printedPlan(`::group::x: the plan\n${lines.join('\n')}\n::endgroup::`);
}

/** The operations of a printed plan, without its headline, what is so already, and findings. */
export function printedStory(log: string): string {
  return printedPlan(log)
    .split('\n')
    .slice(1)
    .filter((line) => !/^ {2}(?:- \[x\]|notice:|warning:) /.test(line))
    .join('\n');
}
