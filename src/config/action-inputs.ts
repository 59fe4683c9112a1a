import {
  absolutePath,
  booleanInput,
  choiceInput,
  durationInput,
  integerInput,
  jsonArrayInput,
  linesInput,
  listInput,
  maybeDatabaseInput,
  maybeDurationInput,
  maybeIntegerInput,
  maybePathInput,
  maybeSizeInput,
  optionalDurationInput,
  optionalSizeInput,
  pairsInput,
  pathInput,
  patternInput,
  secretInput,
  sizeInput,
  textBlockInput,
  timeZoneInput,
  unitInput,
  type ValuesOf,
} from './input.ts';
import { releaseInputs } from './release-inputs.ts';

/** What every action takes: where the host is and how to get in. */
export const hostInputs = {
  host: patternInput(
    { description: 'Host name or address of the server.' },
    'a host name, an IPv4 or an IPv6 address',
    /^(?!-)[A-Za-z0-9._:-]{1,253}$/,
  ),
  port: integerInput(
    { description: 'Port of its SSH server.', fallback: '22' },
    { min: 1, max: 65_535 },
  ),
  user: patternInput(
    {
      description: 'User to log in as: root, or one that may `sudo -n`.',
      fallback: 'root',
    },
    'a user name such as root or deploy',
    /^[a-z_][a-z0-9_-]{0,31}$/,
  ),
  'ssh-key': secretInput(
    { description: 'Private key to log in with, whole, from a secret. Kept in memory only.' },
    'an OpenSSH or PEM private key',
  ),
  'ssh-key-passphrase': secretInput(
    { description: 'Passphrase of the private key.', fallback: '' },
    'the passphrase, or nothing',
  ),
  'known-hosts': linesInput(
    {
      description:
        "The server's public host keys, as `ssh-keyscan` prints them. Checked before logging in; there is no way to skip it.",
    },
    'lines of an OpenSSH known_hosts file',
  ),
  'connect-timeout': durationInput({
    description: 'How long one attempt to connect may take.',
    fallback: '20s',
  }),
  'lock-timeout': durationInput({
    description: 'How long to wait while another run works on the host.',
    fallback: '10m',
  }),
  'fleet-file': patternInput(
    {
      description:
        'File in the repository that gives inputs a value where the workflow gives none.',
      fallback: '.github/fleet.yml',
    },
    'a path inside the repository',
    /^(?!\/)(?!.*(?:^|\/)\.\.(?:\/|$))[A-Za-z0-9._/-]{1,200}$/,
  ),
  'dry-run': booleanInput({
    description: 'Show the plan with its diffs and change nothing.',
    fallback: 'false',
  }),
} as const;

const unit = unitInput({
  description: "The worker's systemd unit.",
  fallback: 'celery-worker.service',
});

const database = maybePathInput({
  description:
    "The SQLite file with the jobs. Found below the unit's WorkingDirectory when left out.",
});

const jobDatabase = maybeDatabaseInput({
  description:
    "Where the jobs are: a SQLite file, or a `postgresql://` URL without a password. Found below the unit's WorkingDirectory and in its environment when left out.",
});

const threshold = durationInput({
  description:
    'How old the last sign of life of a job, and of everything below it, must be before it counts as stuck.',
  fallback: '30m',
});

const queueName = /^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,127}$/;

export const provisionInputs = {
  ...hostInputs,
  'swap-size': sizeInput({ description: 'Size of the swap file.', fallback: '2G' }),
  'swap-path': pathInput({ description: 'Path of the swap file.', fallback: '/swapfile' }),
  swappiness: integerInput(
    { description: 'vm.swappiness, now and after a reboot.', fallback: '10' },
    { min: 0, max: 200 },
  ),
} as const;

export const deployWorkerInputs = {
  ...hostInputs,
  unit,
  concurrency: integerInput(
    { description: 'Processes in the pool: `--concurrency`.', fallback: '1' },
    { min: 1, max: 512 },
  ),
  queues: listInput(
    { description: 'Queues to consume. Kept as they are when left out.', fallback: '' },
    'queue names separated by commas',
    queueName,
  ),
  'memory-max': optionalSizeInput({
    description: 'Hard limit for the worker and its children: `MemoryMax=`.',
    fallback: '800M',
  }),
  'memory-high': optionalSizeInput({
    description: 'Above this the worker is slowed down: `MemoryHigh=`. Set only where swap is on.',
    fallback: '600M',
  }),
  'unit-mode': choiceInput(
    {
      description:
        'How the unit is changed: `rewrite` edits its file, `drop-in` puts `celeriac.conf` beside it, undone by deleting it. An instance of a template (`celery@one.service`) always gets a drop-in of its own.',
      fallback: 'rewrite',
    },
    ['rewrite', 'drop-in'],
  ),
  hardening: choiceInput(
    {
      description:
        '`standard`: the worker gets no new privileges, a /tmp of its own, and may write to its WorkingDirectory and `read-write-paths` only. `off`: as the unit says.',
      fallback: 'off',
    },
    ['off', 'standard'],
  ),
  'read-write-paths': listInput(
    {
      description:
        'With `hardening: standard`: further folders that the worker writes to, such as uploads or a database elsewhere. `/tmp` also keeps the /tmp of the host.',
      fallback: '',
    },
    'absolute paths separated by commas (letters, digits and . _ @ : + - only, no `..`)',
    absolutePath,
  ),
  'longest-task': durationInput({
    description:
      'How long your longest task may run. A stop waits that long, and a minute more, before it kills.',
    fallback: '15m',
  }),
  'drain-timeout': maybeDurationInput({
    description:
      'How long the worker, which takes no more tasks then, may take to end those that it has. `longest-task` when left out.',
  }),
  'drain-policy': choiceInput(
    {
      description:
        'When that time is up: `proceed` to the stop, which gives running tasks `longest-task` once more; `abort`, so that the old worker serves on; or `wait` on as long as tasks end.',
      fallback: 'proceed',
    },
    ['proceed', 'abort', 'wait'],
  ),
  'orphaned-jobs': choiceInput(
    {
      description:
        "What becomes of jobs that the stopped worker left `processing` though no message is left to do them: `leave`, `fail` with the reason, or `reset` to pending. For apps whose row carries its task's id until that task ends it.",
      fallback: 'leave',
    },
    ['leave', 'fail', 'reset'],
  ),
  database,
  'keep-backups': integerInput(
    { description: 'With `orphaned-jobs`: backups of the database to keep.', fallback: '5' },
    { min: 1, max: 100 },
  ),
  'busy-timeout': durationInput({
    description: 'With `orphaned-jobs`: how long to wait while the database is locked.',
    fallback: '10s',
  }),
  'restore-unacked': booleanInput({
    description:
      'Put messages that dead workers left unacked in Redis back into their queues, when no other worker uses that broker. They are only reported otherwise.',
    fallback: 'false',
  }),
  watchdog: optionalDurationInput({
    description: 'Restart the worker when its main process is silent for this long, or `off`.',
    fallback: '5m',
  }),
  'restart-delay': durationInput({
    description: 'Pause before systemd starts a worker that ended: `RestartSec=`.',
    fallback: '10s',
  }),
  'start-limit-burst': integerInput(
    {
      description: 'Starts within `start-limit-interval` after which systemd gives up.',
      fallback: '5',
    },
    { min: 1, max: 1000 },
  ),
  'start-limit-interval': durationInput({
    description: 'See `start-limit-burst`. Must be longer than burst × restart-delay.',
    fallback: '5m',
  }),
  'start-timeout': durationInput({
    description: 'How long the worker may take until it is ready.',
    fallback: '2m',
  }),
  'min-healthy-time': durationInput({
    description: 'How long it must then run without a restart.',
    fallback: '10s',
  }),
  'stray-timeout': durationInput({
    description:
      'How long a worker that was started outside the unit may take to end its task before it is killed.',
    fallback: '16m',
  }),
  ...releaseInputs,
  restart: choiceInput(
    {
      description:
        'Restart `when-needed` (unit, support module or code changed since the worker started), or `always`.',
      fallback: 'when-needed',
    },
    ['when-needed', 'always'],
  ),
  'confirm-within': optionalDurationInput({
    description:
      'Unless a green verify confirms it within this time, the host puts the old worker back by itself; `off`: it stays without.',
    fallback: '15m',
  }),
  'roll-back': patternInput(
    {
      description:
        'Instead of deploying: undo releases. `previous`, the number of the release to go back to (`0`: as it was before Celeriac), or the `transaction` of an earlier run, to be undone.',
      fallback: '',
    },
    'previous, a number, or a transaction such as 20261122T131500-4f2a',
    /^(?:previous|[0-9]{1,6}|[0-9]{8}T[0-9]{6}-[0-9a-f]{4,16})?$/,
  ),
} as const;

export const cleanupInputs = {
  ...hostInputs,
  unit,
  database: jobDatabase,
  stores: textBlockInput({
    description:
      'A YAML list of job databases where their schemas do not tell enough: `database`, and for each of its `tables` columns (`id`, `status`, `created`, `started`, `completed`, `updated`, `error`, `task`), `parent`, `words` (their word: ours), `resend` (`task`, `args`, `queue`) or `ignore`.',
    fallback: '',
  }),
  action: choiceInput(
    {
      description:
        '`fail` marks stuck jobs as failed with the reason, `reset` makes them pending again and sends their tasks where `stores` says how, `delete` removes them with everything below them. Parents whose rows have all ended are finalised by each of them; `finalise` does nothing else.',
      fallback: 'fail',
    },
    ['fail', 'reset', 'delete', 'finalise'],
  ),
  threshold,
  statuses: listInput(
    { description: 'Statuses in which a job can be stuck.', fallback: 'processing' },
    'words separated by commas',
    /^[A-Za-z0-9_-]{1,64}$/,
  ),
  evidence: choiceInput(
    {
      description:
        '`broker`: nothing is called dead before the worker and its broker were asked for its task. `age`: by its age alone, for apps whose worker is elsewhere or whose broker is not Redis.',
      fallback: 'broker',
    },
    ['broker', 'age'],
  ),
  'confirm-after': optionalDurationInput({
    description:
      'How long a job must look dead: it is looked at again after this time, before it is changed; `off`: once is enough. A stopped worker needs no second look.',
    fallback: '60s',
  }),
  'max-resets': integerInput(
    { description: 'With `reset`: a job that was reset so often fails.', fallback: '3' },
    { min: 1, max: 1000 },
  ),
  timezone: timeZoneInput({
    description: 'What times without a zone in the tables mean.',
    fallback: 'UTC',
  }),
  restore: patternInput(
    {
      description:
        'Instead of cleaning up: `latest` or the path of a backup on the host puts `database` back as it was then; the `transaction` of an earlier clean-up puts its rows back.',
      fallback: '',
    },
    'latest, a path below /var/lib/celeriac/backups, or a transaction such as 20261122T131500-4f2a',
    /^(?:latest|\/var\/lib\/celeriac\/backups\/[A-Za-z0-9_-][A-Za-z0-9_.-]{0,199}|[0-9]{8}T[0-9]{6}-[0-9a-f]{4,16})?$/,
  ),
  ids: listInput(
    {
      description:
        'Only these jobs, whatever their age: whole ids, or their first 8 characters or more; `table:id` where two tables hold the same.',
      fallback: '',
    },
    'ids separated by commas',
    /^(?:[A-Za-z_][A-Za-z0-9_]{0,63}:)?[A-Za-z0-9_-]{1,128}$/,
  ),
  orphans: booleanInput({
    description: 'Also treat rows whose parent is gone.',
    fallback: 'true',
  }),
  'snapshot-limit': sizeInput({
    description:
      'Largest database that is copied to the runner whole. Of a larger one only the rows that matter are, and their old values are the backup.',
    fallback: '256M',
  }),
  'keep-backups': integerInput(
    { description: 'Backups of the database to keep on the host.', fallback: '5' },
    { min: 1, max: 100 },
  ),
  'busy-timeout': durationInput({
    description: 'How long to wait while the app holds the database locked.',
    fallback: '10s',
  }),
} as const;

export const verifyInputs = {
  ...hostInputs,
  unit,
  gate: choiceInput(
    {
      description:
        'Which jobs must pass: `canary` (needs nothing of your app), `task` (a task of yours), `http` (a call to your app), or `none`.',
      fallback: 'canary',
    },
    ['canary', 'task', 'http', 'none'],
  ),
  'gate-timeout': durationInput({
    description: 'How long these jobs may take.',
    fallback: '2m',
  }),
  'gate-task': patternInput(
    { description: 'With `gate: task`: the name of the task.', fallback: '' },
    'the name of a task such as tasks.process_link',
    /^(?:[A-Za-z_][A-Za-z0-9_.-]{0,199})?$/,
  ),
  'gate-args': jsonArrayInput({
    description: 'With `gate: task`: its arguments.',
    fallback: '[]',
  }),
  'gate-queue': patternInput(
    {
      description: "With `gate: task`: the queue. The app's own routing when left out.",
      fallback: '',
    },
    'the name of a queue',
    /^(?:[A-Za-z0-9_][A-Za-z0-9_.:-]{0,127})?$/,
  ),
  'gate-url': patternInput(
    { description: 'With `gate: http`: what to call, seen from the host.', fallback: '' },
    'a URL such as http://127.0.0.1/api/batch',
    /^(?:https?:\/\/[^\s"'`<>\\^{|}]+)?$/,
  ),
  'gate-method': choiceInput({ description: 'With `gate: http`: the method.', fallback: 'POST' }, [
    'POST',
    'GET',
  ]),
  'gate-form': pairsInput({
    description: 'With `gate: http`: form fields, one `name=value` a line.',
    fallback: '',
  }),
  'gate-batch-form': pairsInput({
    description:
      'With `gate: http`: form fields of a second call, that starts a batch. No second call when left out.',
    fallback: '',
  }),
  'gate-poll-url': patternInput(
    {
      description:
        'With `gate: http`: what to ask until it is done; `{name}` stands for a field of the first answer.',
      fallback: '',
    },
    'a URL such as http://127.0.0.1/api/batch/{batch_id}/status',
    /^(?:https?:\/\/[^\s"'`<>\\^|]+)?$/,
  ),
  'gate-field': patternInput(
    { description: 'With `gate: http`: the field of its JSON that tells.', fallback: 'status' },
    'a field name such as status or links.state',
    /^[A-Za-z_][A-Za-z0-9_.]{0,99}$/,
  ),
  'gate-done': listInput(
    { description: 'With `gate: http`: words that mean done.', fallback: 'completed' },
    'words separated by commas',
    /^[A-Za-z0-9_-]{1,64}$/,
  ),
  'gate-failed': listInput(
    { description: 'With `gate: http`: words that mean failed.', fallback: 'failed,cancelled' },
    'words separated by commas',
    /^[A-Za-z0-9_-]{1,64}$/,
  ),
  'http-probes': listInput(
    { description: 'URLs that must answer 2xx, seen from the host.', fallback: '' },
    'URLs separated by white space',
    /^https?:\/\/[^\s"'`<>\\^{|}]+$/,
  ),
  'swap-size': maybeSizeInput({ description: 'Swap that must be active, at least.' }),
  concurrency: maybeIntegerInput(
    { description: "Children that must run. The unit's own `--concurrency` when left out." },
    { min: 1, max: 512 },
  ),
  'memory-max': maybeSizeInput({ description: '`MemoryMax=` that must be in force.' }),
  'memory-high': maybeSizeInput({ description: '`MemoryHigh=` that must be in force.' }),
  'max-429': integerInput(
    { description: "Answers 429 allowed in the worker's journal since its start.", fallback: '0' },
    { min: 0, max: 1_000_000 },
  ),
  'max-errors': maybeIntegerInput(
    { description: 'Errors allowed in it. Left out: they are a warning.' },
    { min: 0, max: 1_000_000 },
  ),
  'max-restarts': integerInput(
    { description: 'Restarts by systemd allowed since the start.', fallback: '0' },
    { min: 0, max: 1000 },
  ),
  database: jobDatabase,
  threshold,
  'snapshot-limit': cleanupInputs['snapshot-limit'],
  confirm: booleanInput({
    description: 'When everything is well, the release that awaits its verdict stays.',
    fallback: 'true',
  }),
} as const;

export type HostValues = ValuesOf<typeof hostInputs>;
export type DeployWorkerValues = ValuesOf<typeof deployWorkerInputs>;
export type CleanupValues = ValuesOf<typeof cleanupInputs>;
export type VerifyValues = ValuesOf<typeof verifyInputs>;

/** Every action with its inputs: what `action.yml`, the tables and the fleet file are made from. */
export const actions = {
  provision: provisionInputs,
  'deploy-worker': deployWorkerInputs,
  cleanup: cleanupInputs,
  verify: verifyInputs,
} as const;

export type ActionName = keyof typeof actions;
