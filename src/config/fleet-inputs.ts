import { z } from 'zod';
import { hostInputs } from './action-inputs.ts';
import { booleanInput, choiceInput, input, listInput, patternInput } from './input.ts';
import { fleetName, rolloutInputs } from './rollout-inputs.ts';

const planShape = z.object({
  hosts: z.array(z.string().regex(fleetName)).min(1),
  canaries: z.int().min(0),
  maxFailures: z.int().min(1),
  onFailure: z.enum(['host', 'run']),
});

const outputsShape = z.record(z.string(), z.string());

/** Of the action fleet, which knows no key of a host. */
export const fleetInputs = {
  task: choiceInput(
    {
      description:
        '`plan`: compute the matrices of a rollout. In the job of a host, `start`: decide whether the host may still start; `end`: record its state after the deploy. Afterwards, `decide`: decide which hosts are rolled back; `conclude`: report the state of every host.',
    },
    ['plan', 'start', 'end', 'decide', 'conclude'],
  ),
  'fleet-file': hostInputs['fleet-file'],
  hosts: listInput(
    {
      description:
        'With `plan`: the hosts to deploy, by name; `*` and `?` are wildcards. If not set: all.',
      fallback: '',
    },
    'names of hosts separated by commas, with `*` and `?`',
    /^[A-Za-z0-9._*?-]{1,63}$/,
  ),
  'known-hosts': input(
    {
      description:
        'With `plan` and `start`: host keys for the hosts that have none in the fleet file.',
      fallback: '',
      hidden: true,
    },
    'lines of an OpenSSH known_hosts file, or empty',
    (text) => text,
  ),
  ...rolloutInputs,
  plan: jsonInput('The output `plan` of the task `plan`. Required for all other tasks.', planShape),
  host: patternInput(
    { description: 'With `start` and `end`: the name of the host.', fallback: '' },
    'the name of a host',
    { test: (text) => text === '' || fleetName.test(text) },
  ),
  results: patternInput(
    {
      description: 'Folder with the artifacts `celeriac-leg-*` of this run, if there are any.',
      fallback: '',
    },
    'a path',
    /^[^\n]*$/,
  ),
  outcome: choiceInput(
    {
      description:
        'With `end`: the outcome of the step that deployed the host. With `conclude`: the result of the job that decided.',
      fallback: 'skipped',
    },
    ['success', 'failure', 'cancelled', 'skipped'],
  ),
  outputs: jsonInput('With `end`: the outputs of that step as JSON.', outputsShape),
  'roll-back': booleanInput({
    description: 'With `start` and `end`: the host is rolled back, not deployed.',
    fallback: 'false',
  }),
  'dry-run': booleanInput({
    description: 'With `end`: that step was a dry run.',
    fallback: 'false',
  }),
} as const;

function jsonInput<T>(description: string, shape: z.ZodType<T>) {
  return input(
    { description, fallback: '', hidden: true },
    'JSON as given by an earlier step, or empty',
    (text): { readonly value: T | null } | null => {
      if (text.trim() === '') return { value: null };
      try {
        const { data } = shape.safeParse(JSON.parse(text));
        return data === undefined ? null : { value: data };
      } catch {
        return null;
      }
    },
  );
}
