import { type ActionName, actions } from './action-inputs.ts';
import type { Inputs } from './input.ts';

/** What an `action.yml` says of an action. The files are generated from this (`npm run docs`). */
export interface ActionManifest {
  readonly title: string;
  readonly description: string;
  readonly icon: string;
  readonly inputs: Inputs;
  readonly outputs: Readonly<Record<string, string>>;
}

const commonOutputs = {
  changed: '`true` when something on the host was changed.',
  transaction: 'Name of the transaction on the host; empty when nothing had to change.',
} as const;

export const manifests: Readonly<Record<ActionName, ActionManifest>> = {
  provision: {
    title: 'Celeriac: provision',
    description:
      'Gives a Celery host its swap: file, kernel, fstab and swappiness, from any state.',
    icon: 'hard-drive',
    inputs: actions.provision,
    outputs: commonOutputs,
  },
  'deploy-worker': {
    title: 'Celeriac: deploy worker',
    description:
      'Gives a Celery worker a correct systemd unit and a restart that loses no task, or puts everything back.',
    icon: 'refresh-cw',
    inputs: actions['deploy-worker'],
    outputs: {
      ...commonOutputs,
      downtime:
        'Seconds in which no task could be taken: from the last moment at which the old worker may have taken one until the new worker is ready. Empty when nothing was restarted, or the unit does not say when it is ready.',
    },
  },
  cleanup: {
    title: 'Celeriac: clean up',
    description: "Repairs jobs that are stuck or orphaned in the app's own tables.",
    icon: 'trash-2',
    inputs: actions.cleanup,
    outputs: {
      ...commonOutputs,
      found: 'How many rows were stuck or orphaned.',
      repaired: 'How many of them were changed.',
    },
  },
  verify: {
    title: 'Celeriac: verify',
    description: 'Checks a Celery worker and sends real jobs through its real queues.',
    icon: 'check-circle',
    inputs: actions.verify,
    outputs: {
      healthy: '`true` when every check passed.',
      checks: 'The checks, as JSON: id, state, what was seen, what was expected.',
    },
  },
};
