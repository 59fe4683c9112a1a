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

/** What holds the passphrase of the key: a flag would show it to everyone on the machine. */
export const passphraseVariable = 'CELERIAC_SSH_KEY_PASSPHRASE';

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
    description: `With \`--host\`: the private key. Its passphrase, if any, is taken from ${passphraseVariable}.`,
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

/** What only a login needs; on this machine nobody logs in. */
const loginFlags: readonly string[] = [
  'port',
  'user',
  'ssh-key-file',
  'known-hosts-file',
  'connect-timeout',
];

/**
 * Reads the words after `celeriac cleanup`.
 *
 * @throws ConfigError for a flag that nobody knows, one that lacks its value, and those that do not
 * go together
 */
export function parseFlags(words: readonly string[]): GivenFlags {
  const given = readWords(joinSwitches(words));
  refuseEmpty(given);
  refuseStrangers(given);
  return given;
}

/** `--orphans false` and `--orphans=false` → `--no-orphans`: inputs are written so in workflows. */
function joinSwitches(words: readonly string[]): readonly string[] {
  const switches = new Set(cleanupFlags.filter((flag) => flag.isSwitch).map(({ name }) => name));
  const joined: string[] = [];
  for (let at = 0; at < words.length; at += 1) {
    const word = words[at] ?? '';
    const [, name = '', inner] = /^--([a-z-]+)(?:=(.*))?$/s.exec(word) ?? [];
    const next = words[at + 1];
    const value = inner ?? (next === 'true' || next === 'false' ? next : undefined);
    if (!switches.has(name) || (value !== 'true' && value !== 'false')) {
      joined.push(word);
      continue;
    }
    joined.push(value === 'true' ? `--${name}` : `--no-${name}`);
    if (inner === undefined) at += 1;
  }
  return joined;
}

/** `--ids "$ID"` with nothing in it must not mean every job. */
function refuseEmpty(given: GivenFlags): void {
  for (const [name, text] of given) {
    if (text.trim() !== '') continue;
    const takes = cleanupFlags.find((flag) => flag.name === name)?.takes ?? '';
    const expected = takes.replace(/,? or nothing$/, '');
    throw new ConfigError(`--${name}`, `\`--${name}\` is empty`, `${expected}; or leave it out`);
  }
}

/** Whoever forgets `--host` does not mean this machine. */
function refuseStrangers(given: GivenFlags): void {
  const refuse = (name: string, problem: string, expected: string): never => {
    throw new ConfigError(`--${name}`, problem, expected);
  };
  const login = loginFlags.find((name) => given.has(name));
  if (!given.has('host') && login !== undefined) {
    refuse(login, `\`--${login}\` is given, but no \`--host\``, '`--host` as well, or neither');
  }
  if (given.has('host') && given.get('sudo') === 'true') {
    refuse('sudo', '`--sudo` is for this machine', '`--host` alone: its user uses sudo as needed');
  }
  if (given.has('restore') && given.get('json') === 'true') {
    refuse('json', '`--restore` is told in words only', '`--restore` without `--json`');
  }
}

function readWords(words: readonly string[]): GivenFlags {
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
  const where = error.where
    .replace(/^input ([a-z-]+)/, (_, name: string) => nameOnTerminal(name))
    .replace(/^known-hosts:(\d+)/, '--known-hosts-file, line $1');
  return new ConfigError(where, error.message, error.expected, { cause: error });
};

function nameOnTerminal(input: string): string {
  if (input === 'ssh-key-passphrase') return passphraseVariable;
  return input === 'ssh-key' || input === 'known-hosts' ? `--${input}-file` : `--${input}`;
}

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
    '`celeriac --version` prints the version.',
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
