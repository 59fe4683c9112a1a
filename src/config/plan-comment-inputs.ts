import { z } from 'zod';
import { choiceInput, input, patternInput, secretInput, type ValuesOf } from './input.ts';

/** Of the action plan-comment, which knows no host. */
export const planCommentInputs = {
  'github-token': secretInput(
    { description: 'The token of the run, in a job with `pull-requests: write`.' },
    'the token of the run',
  ),
  plans: patternInput(
    {
      description:
        'Folder on the runner with the plans of dry runs, as uploaded from the output `plan-path` of provision, deploy-worker and cleanup; may contain several hosts.',
    },
    'the path of a folder',
    /^[^\0\n]{1,4096}$/,
  ),
  hosts: input(
    {
      description:
        'The hosts that should have been planned, as a JSON list. The comment names the hosts without a plan. Empty: not known.',
      fallback: '',
    },
    'a JSON list of names, or empty',
    readHosts,
  ),
  'plan-result': choiceInput(
    {
      description:
        'How the planning job ended: `needs.<job>.result`. If the plan is incomplete, the comment says so. Empty: not known.',
      fallback: '',
    },
    ['', 'success', 'failure', 'cancelled', 'skipped'],
  ),
} as const;

export type PlanCommentValues = ValuesOf<typeof planCommentInputs>;

function readHosts(text: string): readonly string[] | null {
  if (text.trim() === '') return [];
  try {
    return z.array(z.string().max(1000)).max(10_000).safeParse(JSON.parse(text)).data ?? null;
  } catch {
    return null;
  }
}

const eventShape = z.object({
  pull_request: z.object({
    number: z.number().int().positive(),
    head: z.object({ sha: z.string().regex(/^[0-9a-f]{40,64}$/) }),
    base: z.object({ ref: z.string().max(1000) }),
  }),
});

/** The pull request of a run. */
export interface PullRequest {
  readonly number: number;
  /** Its newest commit. */
  readonly head: string;
  /** The branch that it would be merged into. */
  readonly base: string;
}

/** The pull request of an event of GitHub, as JSON; `null`: the event is not about one. */
export function readPullRequest(event: string): PullRequest | null {
  try {
    const { data } = eventShape.safeParse(JSON.parse(event));
    if (data === undefined) return null;
    const { number, head, base } = data.pull_request;
    return { number, head: head.sha, base: base.ref };
  } catch {
    return null;
  }
}
