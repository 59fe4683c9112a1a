import { type ActionName, actions } from './action-inputs.ts';
import { fleetInputs } from './fleet-inputs.ts';
import type { Inputs } from './input.ts';
import { planCommentInputs } from './plan-comment-inputs.ts';
import { mostMatrices } from './rollout-inputs.ts';
import { soakIssueInputs } from './soak-issue-inputs.ts';

/** Content of an `action.yml`. The files are generated from this (`npm run docs`). */
export interface ActionManifest {
  readonly title: string;
  readonly description: string;
  readonly icon: string;
  readonly inputs: Inputs;
  readonly outputs: Readonly<Record<string, string>>;
  /** It changes a host: after it, a post step says what became of a run that could not say so. */
  readonly post?: true;
}

const commonOutputs = {
  changed: '`true` if anything on the host was changed.',
  transaction: 'Id of the transaction on the host; empty if nothing was changed.',
} as const;

/** What the four actions take for a deploy, without the keys: to look at inputs takes none. */
const everyInput: Inputs = Object.fromEntries(
  Object.entries<Inputs[string]>(Object.assign({}, ...Object.values(actions).reverse())).filter(
    ([name, { secret }]) =>
      (!secret || name === 'webhook') && name !== 'mode' && name !== 'soak-failure',
  ),
);

/** Actions that know no host, only GitHub. */
export type GithubAction = 'soak-issue' | 'plan-comment';

const planOutput = {
  'plan-path':
    'With `dry-run`: folder on the runner with the plans of this job, for the action plan-comment.',
} as const;

export const manifests: Readonly<
  Record<ActionName | GithubAction | 'check-inputs' | 'fleet', ActionManifest>
> = {
  'check-inputs': {
    title: 'Celeriac: check inputs',
    description:
      'Validates the inputs of a whole deploy before its first step, without connecting to the host.',
    icon: 'check-square',
    inputs: everyInput,
    outputs: {},
  },
  provision: {
    title: 'Celeriac: provision',
    description:
      'Sets up swap on a Celery host: the file, the kernel, fstab and swappiness, from any state.',
    icon: 'hard-drive',
    inputs: actions.provision,
    outputs: { ...commonOutputs, ...planOutput },
    post: true,
  },
  'deploy-worker': {
    title: 'Celeriac: deploy worker',
    description:
      'Gives a Celery worker a correct systemd unit and restarts it without losing a task, or undoes everything.',
    icon: 'refresh-cw',
    inputs: actions['deploy-worker'],
    outputs: {
      ...commonOutputs,
      begun:
        '`true` once the host was asked to change something; if other outputs are then empty, the outcome is unknown.',
      result:
        'How the transaction ended: `committed`, `undone` or `undo-failed`; only for a rollback, `superseded`: another release runs, and nothing was undone. Empty if nothing was changed.',
      'confirm-by':
        'Seconds since 1970: the host rolls back the release at this time unless verify confirms it. Empty if no confirmation is needed.',
      downtime:
        'Seconds without a worker that accepts tasks: from the last moment when the old worker could accept one until the new worker is ready. Empty if nothing was restarted, or if the unit does not report when it is ready.',
      settled:
        'With `orphaned-jobs`: number of rows of abandoned jobs that were changed. Empty if Celeriac did not look for them, or could not evaluate them.',
      left: 'With `orphaned-jobs`: number of rows that look abandoned but were skipped, for the reasons given. Empty as for `settled`.',
      ...planOutput,
    },
    post: true,
  },
  cleanup: {
    title: 'Celeriac: clean up',
    description: "Repairs stuck and orphaned jobs in the app's own tables.",
    icon: 'trash-2',
    inputs: actions.cleanup,
    outputs: {
      ...commonOutputs,
      found: 'Number of stuck or orphaned rows.',
      repaired: 'Number of rows that were changed.',
      ...planOutput,
    },
    post: true,
  },
  verify: {
    title: 'Celeriac: verify',
    description: 'Checks a Celery worker and sends probe tasks through its real queues.',
    icon: 'check-circle',
    inputs: actions.verify,
    outputs: {
      healthy: '`true` if no check failed and no required check is unknown; otherwise `false`.',
      verdict:
        '`healthy`; `unhealthy`: a check failed; `inconclusive`: no check failed, but a required check is unknown.',
      confirmed:
        'Transactions of the release that this run has confirmed, separated by commas; empty if it has confirmed none.',
      'failed-checks': 'Ids of the checks that failed, separated by commas; empty if none did.',
      checks: 'The checks as JSON, each with id, verdict, seen and expected.',
      soak: 'With `mode: soak`: `proven`; `unproven`: not yet; `failed`; `awaiting`: not confirmed by verify yet; `none`: no release of Celeriac is running.',
      'soak-report':
        'With `mode: soak`: as JSON, what was evaluated, the evidence, and the outcome for the release.',
      'report-path':
        'Folder on the runner with the report: the page `report.html`, and the same as `report.json`. Empty if it could not be written.',
    },
    post: true,
  },
  fleet: {
    title: 'Celeriac: fleet',
    description: 'Plans the deploy of many hosts as matrices, and reports the state of each host.',
    icon: 'server',
    inputs: fleetInputs,
    outputs: {
      plan: 'With `plan`: the rollout as JSON, for the other tasks.',
      'max-parallel': 'With `plan`: how many hosts are deployed at the same time.',
      canary: 'With `plan`: names of the canaries as a JSON list.',
      ...numbered('batch', 'With `plan`: names of the next hosts as a JSON list, at most 256.'),
      go: 'With `start`: `true` if the host may start, `false` if too many have failed.',
      'known-hosts':
        'With `start` and `keys`: the host keys given by the workflow, unless the fleet file has some for the host.',
      state: 'With `end`: `confirmed`, `rolled-back`, `untouched` or `unknown`.',
      artifact: 'With `start` and `end`: the name under which `path` must be uploaded.',
      path: 'With `start` and `end`: folder with the record of the host.',
      ...numbered(
        'back',
        'With `decide`: the next hosts to roll back as a JSON list, at most 256, each with `host` and `transaction`.',
      ),
      states: 'With `conclude`: the state of every host as a JSON object.',
    },
  },
  'soak-issue': {
    title: 'Celeriac: soak issue',
    description: 'Opens one issue about a release that failed its soak, and updates it.',
    icon: 'alert-circle',
    inputs: soakIssueInputs,
    outputs: { issue: 'Address of the issue; empty if none was opened or changed.' },
  },
  'plan-comment': {
    title: 'Celeriac: plan comment',
    description: 'Keeps one comment on a pull request that says what merging changes on each host.',
    icon: 'message-square',
    inputs: planCommentInputs,
    outputs: { comment: 'Address of the comment; empty if none was written or changed.' },
  },
};

function numbered(name: string, what: string): Readonly<Record<string, string>> {
  const numbers = Array.from({ length: mostMatrices }, (_, index) => index + 1);
  return Object.fromEntries(numbers.map((number) => [`${name}-${number}`, what]));
}
