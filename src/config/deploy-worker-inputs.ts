import { appUserInput } from './app-user-input.ts';
import { companionInputs } from './companion-inputs.ts';
import { hostInputs } from './host-inputs.ts';
import {
  absolutePath,
  booleanInput,
  choiceInput,
  durationInput,
  integerInput,
  limitInput,
  listInput,
  maybeDurationInput,
  maybeIntegerInput,
  maybeSizeInput,
  optionalDurationInput,
  patternInput,
  type ValuesOf,
} from './input.ts';
import { releaseInputs } from './release-inputs.ts';
import { database, maxResets, snapshotLimit, stores, timezone, unit } from './shared-inputs.ts';
import { deployFailureInputs, journalInputs, soakHours } from './soak-inputs.ts';

const queueName = /^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,127}$/;

export const deployWorkerInputs = {
  ...hostInputs,
  unit,
  concurrency: maybeIntegerInput(
    {
      description:
        'Number of child processes, or of concurrent tasks in a pool without children: `--concurrency`. If not set, the unit keeps its own.',
    },
    { min: 1, max: 4096 },
  ),
  'max-memory-per-child': maybeSizeInput({
    description:
      'Memory use above which Celery replaces a child process after its task: `--max-memory-per-child`. If not set, the unit keeps its own.',
  }),
  'max-tasks-per-child': maybeIntegerInput(
    {
      description:
        'Number of tasks after which Celery replaces a child process: `--max-tasks-per-child`. If not set, the unit keeps its own.',
    },
    { min: 1, max: 1_000_000 },
  ),
  'prefetch-multiplier': maybeIntegerInput(
    {
      description:
        'How many messages the worker reserves for each child process: `--prefetch-multiplier`; `0`: no limit. If not set, the unit keeps its own.',
    },
    { min: 0, max: 10_000 },
  ),
  queues: listInput(
    { description: 'Queues to consume. If not set, the unit keeps its own.', fallback: '' },
    'queue names separated by commas',
    queueName,
  ),
  'memory-max': limitInput({
    description:
      'Hard memory limit of the worker and its child processes: `MemoryMax=`; `off` for none. If not set, the unit keeps its limits; a unit without a limit gets one that protects the host, calculated from the memory of the host and from what else runs there.',
  }),
  'memory-high': limitInput({
    description:
      'Memory use above which the kernel throttles the worker: `MemoryHigh=`; `off` for none. It is only applied if swap is active. If not set: as with `memory-max`.',
  }),
  'unit-mode': choiceInput(
    {
      description:
        'How to change the unit: `rewrite` edits the unit file, `drop-in` adds a drop-in `celeriac.conf` that can simply be deleted. An instance of a template (`celery@one.service`) always gets its own drop-in.',
      fallback: 'rewrite',
    },
    ['rewrite', 'drop-in'],
  ),
  hardening: choiceInput(
    {
      description:
        '`standard`: the worker cannot gain privileges, has a private /tmp, and can write only to its WorkingDirectory and `read-write-paths`. `off`: the unit keeps its settings.',
      fallback: 'off',
    },
    ['off', 'standard'],
  ),
  'read-write-paths': listInput(
    {
      description:
        'With `hardening: standard`: additional folders that the worker can write to, such as uploads or a database outside its WorkingDirectory. If `/tmp` is listed, the worker keeps using the /tmp of the host.',
      fallback: '',
    },
    'absolute paths separated by commas (letters, digits and . _ @ : + - only, no `..`)',
    absolutePath,
  ),
  'longest-task': durationInput({
    description:
      'How long your longest task can run. A stop waits this long plus one minute before systemd kills the worker.',
    fallback: '15m',
  }),
  'drain-timeout': maybeDurationInput({
    description:
      'How long to wait, after the worker has stopped consuming, for its running tasks to finish. If not set: `longest-task`.',
  }),
  'drain-policy': choiceInput(
    {
      description:
        'What to do when `drain-timeout` expires: `proceed` with the stop, which gives running tasks another `longest-task`; `abort` the deploy and keep the old worker running; or `wait` for as long as tasks keep finishing.',
      fallback: 'proceed',
    },
    ['proceed', 'abort', 'wait'],
  ),
  'orphaned-jobs': choiceInput(
    {
      description:
        'What to do with jobs that the stopped worker abandoned: `leave` them, `fail` them with the reason, or `reset` them to pending. They are looked for once the restart has succeeded, by the rules of the action cleanup: a row is `processing` since before the worker stopped, and its task is in no queue, not unacknowledged, and held by no worker. For apps that store the task id in the row until the task ends.',
      fallback: 'leave',
    },
    ['leave', 'fail', 'reset'],
  ),
  database,
  stores,
  timezone,
  'max-resets': maxResets,
  'snapshot-limit': snapshotLimit,
  'keep-backups': integerInput(
    { description: 'With `orphaned-jobs`: number of database backups to keep.', fallback: '5' },
    { min: 1, max: 100 },
  ),
  'busy-timeout': durationInput({
    description: 'With `orphaned-jobs`: how long to wait for a locked database.',
    fallback: '10s',
  }),
  'restore-unacked': booleanInput({
    description:
      'Return messages that dead workers left unacknowledged in Redis to their queues, unless another worker uses the same broker. Otherwise they are only reported.',
    fallback: 'false',
  }),
  watchdog: optionalDurationInput({
    description:
      'Restart the worker if its main process has not reported for this long: `WatchdogSec=`; or `off`.',
    fallback: '5m',
  }),
  'restart-delay': durationInput({
    description: 'How long systemd waits before it restarts the worker: `RestartSec=`.',
    fallback: '10s',
  }),
  'start-limit-burst': integerInput(
    {
      description:
        'Number of starts within `start-limit-interval` after which systemd gives up: `StartLimitBurst=`.',
      fallback: '5',
    },
    { min: 1, max: 1000 },
  ),
  'start-limit-interval': durationInput({
    description: 'See `start-limit-burst`. Must exceed `start-limit-burst` × `restart-delay`.',
    fallback: '5m',
  }),
  'start-timeout': durationInput({
    description: 'How long the worker may take to become ready.',
    fallback: '2m',
  }),
  'min-healthy-time': durationInput({
    description: 'How long the worker must run without a restart once it is ready.',
    fallback: '10s',
  }),
  'stray-timeout': durationInput({
    description:
      "How long stray workers (the unit's user runs them, outside the unit) have to finish their tasks before they are killed.",
    fallback: '16m',
  }),
  'accept-rules': listInput(
    {
      description:
        'Ids of unit rules, such as `purge`, whose faults are accepted: a fault that would be refused, or a warning, becomes a notice.',
      fallback: '',
    },
    'ids of rules such as purge, separated by commas',
    /^[a-z][a-z0-9-]{0,63}$/,
  ),
  'app-user': appUserInput,
  ...releaseInputs,
  ...companionInputs,
  restart: choiceInput(
    {
      description:
        'Restart the worker `when-needed` (the unit, the support module or the code changed since it started), or `always`.',
      fallback: 'when-needed',
    },
    ['when-needed', 'always'],
  ),
  'confirm-within': optionalDurationInput({
    description:
      'The host rolls back automatically unless a successful `verify` confirms the release within this time. `off`: no confirmation is needed.',
    fallback: '15m',
  }),
  'soak-hours': soakHours,
  ...deployFailureInputs,
  ...journalInputs,
  'roll-back': patternInput(
    {
      description:
        'Roll back instead of deploying: to the `previous` release, to the release with this number (`0`: the state before Celeriac), or undo the `transaction` of an earlier run; with `newest:` before it, only if no other release was deployed since.',
      fallback: '',
      overrides: ['source', 'commit'],
    },
    'previous, a number, or a transaction such as 20261122T131500-4f2a',
    /^(?:previous|[0-9]{1,6}|(?:newest:)?[0-9]{8}T[0-9]{6}-[0-9a-f]{4,16})?$/,
  ),
} as const;

export type DeployWorkerValues = ValuesOf<typeof deployWorkerInputs>;
