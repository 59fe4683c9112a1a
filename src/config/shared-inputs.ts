/** Inputs that several actions have. */

import {
  ageInput,
  integerInput,
  maybeDatabaseInput,
  sizeInput,
  timeZoneInput,
  unitInput,
  yamlInput,
} from './input.ts';
import { storesShape } from './stores-input.ts';

export const unit = unitInput({
  description: "The worker's systemd unit.",
  fallback: 'celery-worker.service',
});

export const database = maybeDatabaseInput({
  description:
    "The database with the jobs: a SQLite file, a `postgresql://` URL without a password, or `none` if the app has no tables of jobs. If not set, it is searched for below the unit's WorkingDirectory and in its environment.",
});

export const stores = yamlInput(
  {
    description:
      'A YAML list that describes job databases whose schemas are not recognized: `database`, and for each of its `tables` the columns (`id`, `status`, `created`, `started`, `completed`, `updated`, `error`, `task`), `parent`, `words` (status of the app: status in Celeriac), `resend` (`task`, `args`, `queue`) or `ignore`.',
    fallback: '',
  },
  storesShape,
);

export const maxResets = integerInput(
  {
    description: 'With `reset`: fail a job that has been reset this many times.',
    fallback: '3',
  },
  { min: 1, max: 1000 },
);

export const timezone = timeZoneInput({
  description: 'Time zone of timestamps in the tables that have none.',
  fallback: 'UTC',
});

export const snapshotLimit = sizeInput({
  description:
    'Up to this size, the whole database is copied to the runner. From a larger database only the relevant rows are copied, and the backup consists of the old values of the changed rows.',
  fallback: '256M',
});

export const threshold = ageInput({
  description:
    'A job is stuck if neither it nor any row below it has shown a sign of life for this long.',
  fallback: '30m',
});
