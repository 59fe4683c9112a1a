import { parseArgs } from 'node:util';
import { cleanupInputs, hostInputs } from '../config/action-inputs.ts';
import type { Input, Inputs } from '../config/input.ts';
import { ConfigError } from '../model/errors.ts';

/** A flag of the command line. */
export interface Flag {
  readonly name: string;
  readonly takes: string;
  readonly fallback: string;
  readonly description: string;
  /** It stands alone, or with `--no-` before it. */
  readonly isSwitch: boolean;
}

/** Inputs that a file, the environment or nothing gives on a terminal. */
const elsewhere: ReadonlySet<string> = new Set([
  'host',
  'ssh-key',
  'ssh-key-passphrase',
  'known-hosts',
  'fleet-file',
]);

/** Flags that no input has. */
const ownFlags: readonly Flag[] = [
  {
    name: 'host',
    takes: 'a host name or an address',
    fallback: 'this machine',
    description: 'The server to clean up, over SSH.',
    isSwitch: false,
  },
  {
    name: 'ssh-key-file',
    takes: 'a path',
    fallback: '~/.ssh/id_ed25519, else ~/.ssh/id_rsa',
    description:
      'With `--host`: the private key. Its passphrase, if any, is taken from CELERIAC_SSH_KEY_PASSPHRASE.',
    isSwitch: false,
  },
  {
    name: 'known-hosts-file',
    takes: 'a path',
    fallback: '~/.ssh/known_hosts',
    description:
      "With `--host`: where the server's host key is pinned. There is no way to skip it.",
    isSwitch: false,
  },
  {
    name: 'sudo',
    takes: '',
    fallback: '',
    description: 'Without `--host`: works as root, by `sudo -n`.',
    isSwitch: true,
  },
  {
    name: 'json',
    takes: '',
    fallback: '',
    description: 'Prints one JSON document instead of text; progress goes to stderr all the same.',
    isSwitch: true,
  },
];

const isSwitch = (input: Input<unknown>): boolean => input.expected === '`true` or `false`';

/** Every flag of `celeriac cleanup`, in the order in which they are shown. */
export const cleanupFlags: readonly Flag[] = [
  ...Object.entries(cleanupInputs)
    .filter(([name]) => !elsewhere.has(name) && !(name in hostInputs))
    .map(([name, input]) => flagOf(name, input)),
  ...ownFlags,
  ...Object.entries(hostInputs)
    .filter(([name]) => !elsewhere.has(name))
    .map(([name, input]) => flagOf(name, input)),
];

function flagOf(name: string, input: Input<unknown>): Flag {
  const { expected, fallback, description } = input;
  const alone = isSwitch(input);
  return {
    name,
    takes: alone ? '' : expected,
    fallback: fallback ?? '',
    description,
    isSwitch: alone,
  };
}

/** What was given: flag → its text; switches are `true` or `false`. */
export type GivenFlags = ReadonlyMap<string, string>;

/**
 * Reads the words after `celeriac cleanup`.
 *
 * @throws ConfigError for a flag that nobody knows, or one that lacks its value
 */
export function parseFlags(words: readonly string[]): GivenFlags {
  const options = Object.fromEntries(
    cleanupFlags.map(({ name, isSwitch }) => [
      name,
      { type: isSwitch ? ('boolean' as const) : ('string' as const) },
    ]),
  );
  try {
    const { values } = parseArgs({ args: [...words], options, allowNegative: true });
    return new Map(Object.entries(values).map(([name, value]) => [name, String(value)]));
  } catch (error) {
    const problem = (error as Error).message.split('\n')[0]?.split('. ')[0] ?? '';
    throw new ConfigError('command line', problem, 'flags as `celeriac cleanup --help` lists them');
  }
}

/** The inputs that flags give on a terminal: with those of the host, or without. */
export function inputsFor(remote: boolean): Inputs {
  if (remote) return cleanupInputs;
  const login = new Set(['host', 'port', 'user', 'ssh-key', 'ssh-key-passphrase', 'known-hosts']);
  return Object.fromEntries(Object.entries(cleanupInputs).filter(([name]) => !login.has(name)));
}

/** `input threshold` → `--threshold`: a person at a terminal gave no input. */
export const asFlags = (error: ConfigError): ConfigError => {
  const where = error.where.replace(/^input ([a-z-]+)/, (_, name: string) =>
    name === 'ssh-key' || name === 'known-hosts' ? `--${name}-file` : `--${name}`,
  );
  return new ConfigError(where, error.message, error.expected, { cause: error });
};

const width = 26;

/** The text of `--help`. */
export function renderHelp(): string {
  const lines = cleanupFlags.flatMap(({ name, takes, fallback, description, isSwitch }) => {
    const value = takes === '' ? '' : ' V';
    const negative = isSwitch && fallback === 'true' ? `, --no-${name}` : '';
    const expects = takes === '' ? '' : ` Takes ${takes}.`;
    const standard = fallback === '' || isSwitch ? '' : ` Default: ${fallback}.`;
    const head = `  --${name}${value}${negative}`;
    const first = head.length < width ? [] : [head];
    const text = wrap(`${description}${expects}${standard}`, 100 - width);
    return [
      ...first,
      ...text.map((line, index) => {
        const begin = index === 0 && first.length === 0 ? head : '';
        return `${begin.padEnd(width)}${line}`;
      }),
    ];
  });
  return [
    'Usage: celeriac cleanup [--host H] [--database F] [flags]',
    '',
    "Repairs stuck and orphaned jobs in the app's own tables: on this machine, or on a server over SSH.",
    '',
    ...lines,
    '',
    'Exit codes: 0 nothing to repair, or all repaired; 1 the host failed, and what was begun is undone;',
    '2 wrong usage; 3 a dry run found something to repair; 4 some rows were left alone; 130 interrupted.',
    '',
  ].join('\n');
}

function wrap(text: string, columns: number): string[] {
  const lines: string[] = [''];
  for (const word of text.split(' ')) {
    const last = lines.at(-1) ?? '';
    if (last !== '' && last.length + 1 + word.length > columns) lines.push(word);
    else lines[lines.length - 1] = last === '' ? word : `${last} ${word}`;
  }
  return lines;
}
