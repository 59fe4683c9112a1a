import { appUserInput } from './app-user-input.ts';
import { hostInputs } from './host-inputs.ts';
import {
  booleanInput,
  choiceInput,
  durationInput,
  integerInput,
  jsonArrayInput,
  listInput,
  maybeIntegerInput,
  maybeSizeInput,
  pairsInput,
  patternInput,
  urlInput,
  urlPattern,
  type ValuesOf,
  yamlInput,
} from './input.ts';
import { checksShape } from './own-checks-input.ts';
import { database, snapshotLimit, stores, threshold, timezone, unit } from './shared-inputs.ts';
import { journalInputs, soakInputs } from './soak-inputs.ts';

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
  checks: yamlInput(
    {
      description:
        "A YAML list of checks of your own. Each has a `name` and either a `command`, which runs once as the user of the unit, in its working directory, environment and restrictions, after the gate (`python` is that of the worker), or a `url`, requested from the host; optional are `exit-code` (0) or `status` (200 to 299), `contains` (a text in the command's last lines of output, or at the start of the response), and `timeout` (30s). The fleet file also accepts plain YAML.",
      fallback: '',
    },
    checksShape,
  ),
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
  stores,
  timezone,
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

export type VerifyValues = ValuesOf<typeof verifyInputs>;
