import { z } from 'zod/mini';
import type { Finding, Plan } from '../model/operation.ts';
import {
  type CodeChange,
  type PlannedPart,
  type PlanReport,
  plannedActions,
  planReportVersion,
} from '../model/plan-report.ts';
import { detailOf } from './plan-view.ts';

/** Longer diffs of one operation are cut here: the step's own summary has all of it. */
const longestDetail = 60_000;
const longestLine = 4000;
const mostEntries = 1000;

const line = z.string().check(z.maxLength(longestLine));
const entries = <Shape extends z.ZodMiniType>(shape: Shape) =>
  z.array(shape).check(z.maxLength(mostEntries));

const commitLog = z.object({
  direction: z.enum(['forward', 'back', 'aside']),
  count: z.int().check(z.gte(0)),
  subjects: entries(line),
});

const commit = z.string().check(z.regex(/^(?:[0-9a-f]{40}|[0-9a-f]{64})$/));

const step = z.object({
  op: line,
  title: line,
  why: line,
  detail: z.nullable(
    z.object({ text: z.string().check(z.maxLength(2 * longestDetail)), language: line }),
  ),
});

const part = z.object({
  subject: z.nullable(line),
  sentence: line,
  steps: entries(step),
  findings: entries(
    z.object({
      level: z.enum(['notice', 'warning']),
      message: line,
      where: z.optional(line),
    }),
  ),
  code: z.nullable(z.object({ from: z.nullable(commit), to: commit, log: z.nullable(commitLog) })),
});

const shape = z.object({
  version: z.literal(planReportVersion),
  celeriac: line,
  action: z.enum(plannedActions),
  host: line,
  access: z.enum(['read', 'change']),
  parts: entries(part),
  failure: z.nullable(line),
});

/** A report as a dry run wrote it; `null`: it is none, or of another version. */
export function readPlanReport(text: string): PlanReport | null {
  try {
    const { data } = shape.safeParse(JSON.parse(text));
    return (data as PlanReport | undefined) ?? null;
  } catch {
    return null;
  }
}

/** What a part of a report is made of. */
export interface Planned {
  readonly subject: string | null;
  readonly sentence: string;
  /** `null`: only findings. */
  readonly plan: Plan | null;
  /** Besides those of the plan. */
  readonly findings: readonly Finding[];
  readonly code: CodeChange | null;
}

/** The plan as data, each text within what {@link readPlanReport} accepts. */
export function plannedPart({ subject, sentence, plan, findings, code }: Planned): PlannedPart {
  const all = [...(plan?.findings ?? []), ...findings];
  return {
    subject: subject === null ? null : shorten(subject),
    sentence: shorten(sentence),
    steps: (plan?.operations ?? []).slice(0, mostEntries).map((operation) => {
      const detail = detailOf(operation);
      return {
        op: operation.op,
        title: shorten(operation.title),
        why: shorten(operation.why),
        detail: detail && { ...detail, text: shortenDetail(detail.text) },
      };
    }),
    findings: all.slice(0, mostEntries).map(({ level, message, where }) => ({
      level,
      message: shorten(message),
      ...(where !== undefined && { where: shorten(where) }),
    })),
    code: code && {
      ...code,
      log: code.log && { ...code.log, subjects: code.log.subjects.map(shorten) },
    },
  };
}

/** A message for {@link PlanReport.failure}. */
export const shortenFailure = (text: string): string => shorten(text);

const shorten = (text: string): string =>
  text.length > longestLine ? `${text.slice(0, longestLine - 1)}…` : text;

/** Cut between lines. */
function shortenDetail(text: string): string {
  if (text.length <= longestDetail) return text;
  const end = text.lastIndexOf('\n', longestDetail);
  return `${text.slice(0, end > 0 ? end : longestDetail)}\n… (cut)`;
}
