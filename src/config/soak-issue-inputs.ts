import { z } from 'zod';
import { input, secretInput } from './input.ts';

const figure = z.number().nullable();

/** The part of a SoakReport that an issue is made of. */
const reportShape = z.object({
  version: z.literal(1),
  unit: z.string(),
  state: z.string(),
  sentence: z.string(),
  release: z
    .object({
      number: z.number(),
      // It becomes part of the marker, and of a time to search from.
      transaction: z.string().regex(/^[0-9]{8}T[0-9]{6}-[0-9a-f]{4,16}$/),
      sha: z.string(),
      actor: z.string(),
      since: z.number(),
    })
    .nullable(),
  verdict: z
    .object({
      failure: z.object({ sentence: z.string(), evidence: z.array(z.string()) }).nullable(),
      notes: z.array(z.string()),
    })
    .nullable(),
  comparison: z
    .object({
      release: z.number(),
      rows: z.array(
        z.object({
          title: z.string(),
          unit: z.enum(['bytes', 'seconds', 'count', 'per-hour']),
          before: figure,
          now: figure,
          trend: z.enum(['better', 'same', 'worse']).nullable(),
        }),
      ),
    })
    .nullable(),
  rolledBackTo: figure,
  by: z.string(),
});

export type IssueReport = z.infer<typeof reportShape>;

/** Of the action soak-issue, which knows no host. */
export const soakIssueInputs = {
  'github-token': secretInput(
    { description: 'The token of the run, in a job with `issues: write`.' },
    'the token of the run',
  ),
  'soak-report': input(
    {
      description:
        'The output `soak-report` of verify. Empty: the soak did not evaluate a release, and there is nothing to report.',
      fallback: '',
    },
    'the output `soak-report` of verify, or empty',
    readReport,
  ),
} as const;

function readReport(text: string): { readonly report: IssueReport | null } | null {
  if (text.trim() === '') return { report: null };
  try {
    const { data } = reportShape.safeParse(JSON.parse(text));
    return data === undefined ? null : { report: data };
  } catch {
    return null;
  }
}
