import {
  booleanInput,
  choiceInput,
  durationInput,
  integerInput,
  jumpInput,
  linesInput,
  patternInput,
  secretInput,
  type ValuesOf,
} from './input.ts';

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

export type HostValues = ValuesOf<typeof hostInputs>;
