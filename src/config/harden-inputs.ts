import { commandsInput, companionsInput } from './companion-inputs.ts';
import { hostInputs } from './host-inputs.ts';
import {
  absolutePath,
  choiceInput,
  type Described,
  type Input,
  input,
  isDatabase,
  listInput,
  maybePathInput,
  patternInput,
  unitName,
  urlPattern,
  type ValuesOf,
} from './input.ts';
import { parseSize } from './quantities.ts';

// Its owner works as root, over ordinary SSH.
const { 'fleet-file': _fleetFile, agent: _agent, ...loginInputs } = hostInputs;

const account = /^[a-z_][a-z0-9_-]{0,31}$/;
const deployUser = patternInput(
  {
    description: 'System user that the key of the pipeline logs in as; created for this purpose.',
    fallback: 'celeriac',
  },
  'a user name such as celeriac, not root',
  { test: (text) => account.test(text) && text !== 'root' },
);

/** One of the choices, or empty. */
const maybeChoice = <const Choice extends string>(
  described: Described,
  choices: readonly Choice[],
): Input<Choice | ''> => ({
  ...choiceInput({ ...described, fallback: '' }, [...choices, '']),
  expected: `one of ${choices.map((choice) => `\`${choice}\``).join(', ')}, or empty`,
});

/** The inputs of `celeriac harden`: what the policy does not get from one stays as it is. */
export const hardenInputs = {
  ...loginInputs,
  'deploy-user': deployUser,
  'read-user': patternInput(
    {
      description: 'A second system user with a read-only key, for plans on pull requests.',
      fallback: '',
    },
    'a user name such as celeriac-plan, not root, or empty',
    { test: (text) => text === '' || (account.test(text) && text !== 'root') },
  ),
  units: listInput(
    {
      description:
        'Units of the workers that the key may deploy. They must have the same `User=`, which must not be root; the key can act only for this user.',
      fallback: '',
    },
    'names of systemd services separated by commas',
    unitName,
  ),
  'also-restart': companionsInput({
    description:
      'Units that a deploy may restart or reload, as in deploy-worker; their URLs may be requested.',
  }),
  databases: listInput(
    {
      description:
        'Databases with jobs that may be read, backed up and repaired; or `none`. If not set, the first time: the databases that cleanup finds.',
      fallback: '',
    },
    'absolute paths or postgresql:// URLs without a password, separated by commas, or `none`',
    { test: (text) => text === 'none' || isDatabase(text) },
  ),
  source: maybeChoice(
    {
      description:
        'How code may be deployed: `git` to the checkout, `upload` below `deploy-to`, or not at all. Anyone who can deploy code can run code as the user of the app, unless only signed commits are accepted.',
    },
    ['none', 'git', 'upload'],
  ),
  checkout: maybePathInput({
    description:
      "With `source: git`: path of the checkout. If not set: the one that contains the unit's WorkingDirectory.",
  }),
  'deploy-to': maybePathInput({
    description: 'With `source: upload`: the folder that contains the code folders.',
  }),
  'gpg-keyring': maybePathInput({
    description:
      'Keyring on the host; one of its keys must have signed each commit that is deployed.',
  }),
  'swap-path': patternInput(
    {
      description: 'The swap file that may be created. If not set, the first time: /swapfile.',
      fallback: '',
    },
    'an absolute path or empty',
    { test: (text) => text === '' || absolutePath.test(text) },
  ),
  'swap-size': input(
    {
      description:
        'The largest size of the swap file; `off`: no swap. If not set, the first time: 4G. The action provision needs it, even if there is nothing to do.',
      fallback: '',
    },
    'a size such as 2G, `off`, or empty',
    (text) => {
      const word = text.trim();
      if (word === '' || word === 'off') return { bytes: null, off: word === 'off' };
      const bytes = parseSize(word);
      return bytes === null ? null : { bytes, off: false };
    },
  ),
  urls: listInput(
    {
      description:
        'URLs that may be requested from the host, by the gate and the probes; a URL that ends with `/` includes all URLs below it.',
      fallback: '',
    },
    'URLs separated by commas',
    urlPattern(/^https?:\/\/[^\s/?#@\\]+(?:\/[^\s?#\\]*)?$/),
  ),
  tasks: listInput(
    {
      description: 'Tasks of the app that the gate may send by name; canaries are always allowed.',
      fallback: '',
    },
    'names of tasks separated by commas',
    /^[A-Za-z_][A-Za-z0-9_.-]{0,199}$/,
  ),
  'before-start': commandsInput({
    description:
      'Commands that deploys (`before-start`) and `checks` of verify may run as the user of the app, word for word, one per line.',
  }),
  'read-write-paths': listInput(
    {
      description: 'Paths that a deploy may add to `ReadWritePaths=` of a unit.',
      fallback: '',
    },
    'absolute paths separated by commas (letters, digits and . _ @ : + - only, no `..`)',
    absolutePath,
  ),
  access: maybeChoice(
    {
      description:
        '`read`: the key may read, but not change anything. If not set, the first time: `change`.',
    },
    ['change', 'read'],
  ),
} as const;

export type HardenValues = ValuesOf<typeof hardenInputs>;

/** The inputs of `celeriac unharden`. */
export const unhardenInputs = { ...loginInputs, 'deploy-user': deployUser } as const;

export type UnhardenValues = ValuesOf<typeof unhardenInputs>;
