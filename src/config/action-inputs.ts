import { appUserInput } from './app-user-input.ts';
import { companionInputs } from './companion-inputs.ts';
import {
  absolutePath,
  ageInput,
  booleanInput,
  choiceInput,
  durationInput,
  integerInput,
  jsonArrayInput,
  jumpInput,
  limitInput,
  linesInput,
  listInput,
  maybeDatabaseInput,
  maybeDurationInput,
  maybeIntegerInput,
  maybeSizeInput,
  optionalDurationInput,
  pairsInput,
  patternInput,
  secretInput,
  sizeInput,
  timeZoneInput,
  unitInput,
  urlInput,
  urlPattern,
  type ValuesOf,
  yamlInput,
} from './input.ts';
import { releaseInputs } from './release-inputs.ts';
import { deployFailureInputs, journalInputs, soakHours, soakInputs } from './soak-inputs.ts';
import { webhookInputs } from './webhook-inputs.ts';

/** Where the host is, and how to log in. */
export const loginInputs = {
  host: patternInput(
    { description: 'Host name or IP address of the server.' },
    'a host name, an IPv4 or an IPv6 address',
    /^(?!-)[A-Za-z0-9._:-]{1,253}$/,
  ),
  port: integerInput({ description: 'SSH port.', fallback: '22' }, { min: 1, max: 65_535 }),
  user: patternInput(
    {
      description: 'User to log in as: root, or a user with passwordless `sudo`.',
      fallback: 'root',
    },
    'a user name such as root or deploy',
    /^[a-z_][a-z0-9_-]{0,31}$/,
  ),
  agent: choiceInput(
    {
      description:
        'The program on the server that does the work. `streamed`: the agent of this version, sent unless the server has it already, and run as root. `installed`: the agent that `celeriac harden` installed, which only does what the policy on the server allows; set `user` to the user that `harden` created.',
      fallback: 'streamed',
    },
    ['streamed', 'installed'],
  ),
  'ssh-key': secretInput(
    {
      description:
        'Private key to log in with, from a secret. Kept in memory only. If not set, the keys of an ssh-agent (SSH_AUTH_SOCK) are used.',
      fallback: '',
    },
    'an OpenSSH or PEM private key, or empty',
  ),
  'ssh-key-passphrase': secretInput(
    { description: 'Passphrase of the private key.', fallback: '' },
    'the passphrase, or empty',
  ),
  'known-hosts': linesInput(
    {
      description:
        "The server's public host keys, as printed by `ssh-keyscan`. They are verified before login; the check cannot be disabled.",
    },
    'lines of an OpenSSH known_hosts file',
  ),
  'proxy-jump': jumpInput({
    description:
      'Jump host for the connection, such as `deploy@bastion.example.com:22`. The login is the same; its host key must be in `known-hosts`, too.',
  }),
  'connect-timeout': durationInput({
    description: 'Timeout of one connection attempt.',
    fallback: '20s',
  }),
} as const;

/** Inputs of every action. */
export const hostInputs = {
  ...loginInputs,
  'lock-timeout': durationInput({
    description: 'How long to wait for another run that is working on the host.',
    fallback: '10m',
  }),
  'fleet-file': patternInput(
    {
      description: 'File in the repository with values for inputs that the workflow does not set.',
      fallback: '.github/fleet.yml',
    },
    'a path inside the repository',
    /^(?!\/)(?!.*(?:^|\/)\.\.(?:\/|$))[A-Za-z0-9._/-]{1,200}$/,
  ),
  'dry-run': booleanInput({
    description: 'Show the plan with its diffs without changing anything.',
    fallback: 'false',
  }),
} as const;

const unit = unitInput({
  description: "The worker's systemd unit.",
  fallback: 'celery-worker.service',
});

const database = maybeDatabaseInput({
  description:
    "The database with the jobs: a SQLite file, a `postgresql://` URL without a password, or `none` if the app has no tables of jobs. If not set, it is searched for below the unit's WorkingDirectory and in its environment.",
});

const stores = yamlInput({
  description:
    'A YAML list that describes job databases whose schemas are not recognized: `database`, and for each of its `tables` the columns (`id`, `status`, `created`, `started`, `completed`, `updated`, `error`, `task`), `parent`, `words` (status of the app: status in Celeriac), `resend` (`task`, `args`, `queue`) or `ignore`.',
  fallback: '',
});

const maxResets = integerInput(
  {
    description: 'With `reset`: fail a job that has been reset this many times.',
    fallback: '3',
  },
  { min: 1, max: 1000 },
);

const timezone = timeZoneInput({
  description: 'Time zone of timestamps in the tables that have none.',
  fallback: 'UTC',
});

const snapshotLimit = sizeInput({
  description:
    'Up to this size, the whole database is copied to the runner. From a larger database only the relevant rows are copied, and the backup consists of the old values of the changed rows.',
  fallback: '256M',
});

const threshold = ageInput({
  description:
    'A job is stuck if neither it nor any row below it has shown a sign of life for this long.',
  fallback: '30m',
});

const queueName = /^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,127}$/;

/** A file on a disk: what is below these folders is in memory, or is no file. */
const swapPath: Pick<RegExp, 'test'> = {
  test: (text) => absolutePath.test(text) && !/^\/(?:proc|sys|dev|run|var\/run)(?:\/|$)/.test(text),
};

export const provisionInputs = {
  ...hostInputs,
  'swap-size': sizeInput({ description: 'Size of the swap file.', fallback: '2G' }),
  'swap-path': patternInput(
    { description: 'Path of the swap file.', fallback: '/swapfile' },
    'the absolute path of a file on a disk, such as /swapfile (letters, digits and . _ @ : + - only, no `..`; not below /proc, /sys, /dev or /run)',
    swapPath,
  ),
  swappiness: integerInput(
    { description: 'Value of vm.swappiness, set now and kept after a reboot.', fallback: '10' },
    { min: 0, max: 200 },
  ),
} as const;

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

export const verifyInputs = {
  ...hostInputs,
  unit,
  mode: choiceInput(
    {
      description:
        '`checks`: check the worker now, and send probes. `soak`: evaluate the running release by what the host has recorded since it was confirmed, and record when it is proven, or failed.',
      fallback: 'checks',
    },
    ['checks', 'soak'],
  ),
  ...soakInputs,
  'app-user': appUserInput,
  gate: choiceInput(
    {
      description:
        'The probes that must pass: `canary` (tasks of the support module; works with every app), `task` (a task of your app), `http` (an HTTP request to your app), or `none`.',
      fallback: 'canary',
    },
    ['canary', 'task', 'http', 'none'],
  ),
  'gate-timeout': durationInput({
    description: 'How long each round of probes (the single probe, then the batch) may take.',
    fallback: '2m',
  }),
  'gate-batch': integerInput(
    {
      description:
        'Number of probes in the batch that follows the single probe. With `canary`, each queue gets at least one of them. `gate: http` has `gate-batch-form` instead.',
      fallback: '3',
    },
    { min: 1, max: 100 },
  ),
  'gate-task': patternInput(
    { description: 'With `gate: task`: name of the task.', fallback: '' },
    'the name of a task such as tasks.process_link',
    /^(?:[A-Za-z_][A-Za-z0-9_.-]{0,199})?$/,
  ),
  'gate-args': jsonArrayInput({
    description: 'With `gate: task`: arguments of the task.',
    fallback: '[]',
  }),
  'gate-queue': patternInput(
    {
      description: "With `gate: task`: the queue. If not set, the app's routing decides.",
      fallback: '',
    },
    'the name of a queue',
    /^(?:[A-Za-z0-9_][A-Za-z0-9_.:-]{0,127})?$/,
  ),
  'gate-url': urlInput(
    { description: 'With `gate: http`: URL to request, from the host.', fallback: '' },
    'a URL such as http://127.0.0.1/api/batch',
    /^(?:https?:\/\/[^\s"'`<>\\^{|}]+)?$/,
  ),
  'gate-method': choiceInput({ description: 'With `gate: http`: HTTP method.', fallback: 'POST' }, [
    'POST',
    'GET',
  ]),
  'gate-form': pairsInput({
    description: 'With `gate: http`: form fields, one `name=value` per line.',
    fallback: '',
  }),
  'gate-batch-form': pairsInput({
    description:
      'With `gate: http`: form fields of a second request that starts a batch. If not set, there is no second request.',
    fallback: '',
  }),
  'gate-poll-url': urlInput(
    {
      description:
        'With `gate: http`: URL to poll until the job is done; `{name}` is replaced by that field of the first response.',
      fallback: '',
    },
    'a URL such as http://127.0.0.1/api/batch/{batch_id}/status',
    /^(?:https?:\/\/[^\s"'`<>\\^|]+)?$/,
  ),
  'gate-clean-url': urlInput(
    {
      description:
        'With `gate: http` or `task`: URL that makes your app remove or mark what a probe has created, requested once the probe has ended; `{name}` is replaced by that field of the first response, `{task_id}` by the id of the task. If not set, nothing is removed.',
      fallback: '',
    },
    'a URL such as http://127.0.0.1/api/batch/{batch_id}',
    /^(?:https?:\/\/[^\s"'`<>\\^|]+)?$/,
  ),
  'gate-clean-method': choiceInput(
    { description: 'HTTP method of the request to `gate-clean-url`.', fallback: 'DELETE' },
    ['DELETE', 'POST'],
  ),
  'gate-clean-form': pairsInput({
    description:
      'With `gate-clean-method: POST`: form fields, one `name=value` per line, e.g. `mark=test`.',
    fallback: '',
  }),
  'gate-field': patternInput(
    { description: 'With `gate: http`: JSON field with the status.', fallback: 'status' },
    'a field name such as status or links.state',
    /^[A-Za-z_][A-Za-z0-9_.]{0,99}$/,
  ),
  'gate-done': listInput(
    { description: 'With `gate: http`: values that mean done.', fallback: 'completed' },
    'values separated by commas',
    /^[A-Za-z0-9_-]{1,64}$/,
  ),
  'gate-failed': listInput(
    { description: 'With `gate: http`: values that mean failed.', fallback: 'failed,cancelled' },
    'values separated by commas',
    /^[A-Za-z0-9_-]{1,64}$/,
  ),
  'http-probes': listInput(
    {
      description: 'URLs that must answer with 2xx, requested from the host.',
      fallback: '',
      hidden: true,
    },
    'URLs separated by white space',
    urlPattern(/^https?:\/\/[^\s"'`<>\\^{|}]+$/),
  ),
  checks: yamlInput({
    description:
      "A YAML list of checks of your own. Each has a `name` and either a `command`, which runs once as the user of the unit, in its working directory, environment and restrictions, after the gate (`python` is that of the worker), or a `url`, requested from the host; optional are `exit-code` (0) or `status` (200 to 299), `contains` (a text in the command's last lines of output, or at the start of the response), and `timeout` (30s). The fleet file also accepts plain YAML.",
    fallback: '',
  }),
  'swap-size': maybeSizeInput({ description: 'Minimum amount of active swap.' }),
  concurrency: maybeIntegerInput(
    {
      description:
        'Number of child processes that must run. If not set: the `--concurrency` of the unit.',
    },
    { min: 1, max: 4096 },
  ),
  'memory-max': maybeSizeInput({ description: 'Required `MemoryMax=`.' }),
  'memory-high': maybeSizeInput({ description: 'Required `MemoryHigh=`.' }),
  'memory-return': maybeSizeInput({
    description:
      'How much more memory the worker may use after the gate than before it, e.g. `100M`. If not set, there is a warning above a fifth more (at least 64 MiB).',
  }),
  'max-429': integerInput(
    {
      description: "HTTP 429 responses allowed in the worker's journal since the release.",
      fallback: '0',
    },
    { min: 0, max: 1_000_000 },
  ),
  ...journalInputs,
  'max-restarts': integerInput(
    { description: 'Automatic restarts by systemd allowed since the start.', fallback: '0' },
    { min: 0, max: 1000 },
  ),
  database,
  threshold,
  'snapshot-limit': snapshotLimit,
  confirm: booleanInput({
    description: 'Confirm the release that awaits its verdict if all checks pass.',
    fallback: 'true',
  }),
} as const;

/** Of `celeriac soak`: what `mode: soak` of the action takes. */
export const soakCommandInputs = {
  ...hostInputs,
  unit,
  ...soakInputs,
  'max-429': verifyInputs['max-429'],
  ...journalInputs,
} as const;

export type HostValues = ValuesOf<typeof hostInputs>;
export type DeployWorkerValues = ValuesOf<typeof deployWorkerInputs>;
export type CleanupValues = ValuesOf<typeof cleanupInputs>;
export type VerifyValues = ValuesOf<typeof verifyInputs>;

/** Every action with its inputs; source of `action.yml`, the tables and the fleet file's keys. */
export const actions = {
  provision: { ...provisionInputs, ...webhookInputs },
  'deploy-worker': { ...deployWorkerInputs, ...webhookInputs },
  cleanup: { ...cleanupInputs, ...webhookInputs },
  verify: { ...verifyInputs, ...webhookInputs },
} as const;

export type ActionName = keyof typeof actions;

/** The values of the inputs that every action has. TypeScript does not follow that through `Name`. */
export const hostValuesOf = <Name extends ActionName>(
  inputs: ValuesOf<(typeof actions)[Name]>,
): HostValues => inputs as unknown as HostValues;
