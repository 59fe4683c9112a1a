import { appUserInput } from './app-user-input.ts';
import { hostInputs } from './host-inputs.ts';
import {
  booleanInput,
  choiceInput,
  durationInput,
  integerInput,
  listInput,
  optionalDurationInput,
  patternInput,
  type ValuesOf,
} from './input.ts';
import {
  database,
  maxResets,
  snapshotLimit,
  stores,
  threshold,
  timezone,
  unit,
} from './shared-inputs.ts';

export const cleanupInputs = {
  ...hostInputs,
  unit,
  'app-user': appUserInput,
  database,
  stores,
  action: choiceInput(
    {
      description:
        '`fail` marks stuck jobs as failed with the reason; `reset` makes them pending again and sends their tasks if `stores` defines `resend`; `delete` removes them with all unfinished rows below them. All of these also finalise parents whose rows have all ended; `finalise` does only that.',
      fallback: 'fail',
    },
    ['fail', 'reset', 'delete', 'finalise'],
  ),
  threshold,
  statuses: listInput(
    { description: 'Statuses in which a job can be stuck.', fallback: 'processing' },
    'statuses separated by commas',
    /^[A-Za-z0-9_-]{1,64}$/,
  ),
  evidence: choiceInput(
    {
      description:
        'How to decide that a job is stuck. `broker`: it is old enough, and neither the worker nor the broker has its task. `age`: by age alone, for apps whose worker runs elsewhere, or whose broker is neither Redis nor RabbitMQ. RabbitMQ reports how many messages wait, but not which: with `broker`, a job only counts as stuck while its queues are empty.',
      fallback: 'broker',
    },
    ['broker', 'age'],
  ),
  'confirm-after': optionalDurationInput({
    description:
      'Check each job again after this time, and repair it only if it still looks stuck; `off`: check once. If the worker is stopped, there is no second check.',
    fallback: '60s',
  }),
  'max-resets': maxResets,
  timezone,
  restore: patternInput(
    {
      description:
        'Restore instead of cleaning up: `latest` or the path of a backup on the host restores `database` from it; the `transaction` of an earlier clean-up restores the rows that it changed.',
      fallback: '',
      overrides: ['ids'],
    },
    'latest, a path below /var/lib/celeriac/backups, or a transaction such as 20261122T131500-4f2a',
    /^(?:latest|\/var\/lib\/celeriac\/backups\/[A-Za-z0-9_-][A-Za-z0-9_.-]{0,199}|[0-9]{8}T[0-9]{6}-[0-9a-f]{4,16})?$/,
  ),
  'accept-loss': booleanInput({
    description:
      'With `restore` of a backup: restore it even if rows that are newer than the backup would be lost, or tables without jobs would change. The current content is backed up first.',
    fallback: 'false',
  }),
  ids: listInput(
    {
      description:
        'Repair only these jobs, regardless of their age: full ids or at least their first 8 characters; `table:id` if the id exists in two tables.',
      fallback: '',
    },
    'ids separated by commas',
    /^(?:[A-Za-z_][A-Za-z0-9_]{0,63}:)?[A-Za-z0-9_-]{1,128}$/,
  ),
  'delete-completed': booleanInput({
    description:
      'With `delete` and `ids`: also delete rows that have ended, including completed work. Otherwise these rows are always kept.',
    fallback: 'false',
  }),
  orphans: booleanInput({
    description: 'Also repair orphans: rows whose parent row is gone.',
    fallback: 'true',
  }),
  'snapshot-limit': snapshotLimit,
  'keep-backups': integerInput(
    { description: 'Number of database backups to keep on the host.', fallback: '5' },
    { min: 1, max: 100 },
  ),
  'busy-timeout': durationInput({
    description: 'How long to wait while the app has locked the database.',
    fallback: '10s',
  }),
} as const;

export type CleanupValues = ValuesOf<typeof cleanupInputs>;
