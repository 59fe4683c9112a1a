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
  /** Takes no value, and can be negated with `--no-`. */
  readonly isSwitch: boolean;
}

/** Inputs that are not flags: on a terminal they come from a file, the environment, or not at all. */
const elsewhere: ReadonlySet<string> = new Set([
  'host',
  'ssh-key',
  'ssh-key-passphrase',
  'known-hosts',
  'fleet-file',
]);

/** Variable with the passphrase of the key: a flag would be visible in the list of processes. */
export const passphraseVariable = 'CELERIAC_SSH_KEY_PASSPHRASE';

/** Flags without an input. */
const ownFlags: readonly Flag[] = [
  {
    name: 'host',
    takes: 'a host name or an IP address',
    fallback: 'this machine',
    description: 'Host to clean up, over SSH.',
    isSwitch: false,
  },
  {
    name: 'ssh-key-file',
    takes: 'a path',
    fallback: 'the ssh-agent (SSH_AUTH_SOCK), else ~/.ssh/id_ed25519, else ~/.ssh/id_rsa',
    description: `With \`--host\`: file with the private key. Its passphrase, if any, is read from ${passphraseVariable}.`,
    isSwitch: false,
  },
  {
    name: 'known-hosts-file',
    takes: 'a path',
    fallback: '~/.ssh/known_hosts',
    description: "With `--host`: file with the server's host keys. The check cannot be disabled.",
    isSwitch: false,
  },
  {
    name: 'sudo',
    takes: '',
    fallback: '',
    description: 'Without `--host`: work as root, with `sudo -n`.',
    isSwitch: true,
  },
  {
    name: 'json',
    takes: '',
    fallback: '',
    description: 'Print one JSON document instead of text; progress still goes to stderr.',
    isSwitch: true,
  },
];

const isSwitch = (input: Input<unknown>): boolean => input.expected === '`true` or `false`';

/** Every flag of `celeriac cleanup`, in display order. */
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

/** The flags that are set: name → text; switches are `true` or `false`. */
export type GivenFlags = ReadonlyMap<string, string>;

/** Flags that are only valid with `--host`. */
const loginFlags: readonly string[] = [
  'port',
  'user',
  'proxy-jump',
  'ssh-key-file',
  'known-hosts-file',
  'connect-timeout',
];

/**
 * Parses the arguments after `celeriac cleanup`.
 *
 * @throws ConfigError for an unknown flag, a missing value, or flags that cannot be combined
 */
export function parseFlags(words: readonly string[]): GivenFlags {
  const given = readWords(joinValues(joinSwitches(words)));
  refuseEmpty(given);
  refuseStrangers(given);
  return given;
}

/** `--orphans false` and `--orphans=false` → `--no-orphans`: as inputs are written in workflows. */
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

/** `--stores '- database: …'` → `--stores=- …`: a value may begin with a dash, as YAML lists do. */
function joinValues(words: readonly string[]): readonly string[] {
  const takers = new Set(cleanupFlags.filter((flag) => !flag.isSwitch).map(({ name }) => name));
  const joined: string[] = [];
  for (let at = 0; at < words.length; at += 1) {
    const word = words[at] ?? '';
    const next = words[at + 1];
    // What looks like a flag is one: the value was forgotten.
    const isValue = next !== undefined && /^-(?!-[a-z])/.test(next);
    if (isValue && word.startsWith('--') && takers.has(word.slice(2))) {
      joined.push(`${word}=${next}`);
      at += 1;
    } else {
      joined.push(word);
    }
  }
  return joined;
}

/** An empty `--ids "$ID"` must not select every job. */
function refuseEmpty(given: GivenFlags): void {
  for (const [name, text] of given) {
    if (text.trim() !== '') continue;
    const takes = cleanupFlags.find((flag) => flag.name === name)?.takes ?? '';
    const expected = takes.replace(/,? or empty$/, '');
    throw new ConfigError(
      `--${name}`,
      `\`--${name}\` is empty`,
      `${expected}; or no \`--${name}\``,
    );
  }
}

/** A login flag without `--host` means that `--host` was forgotten. */
function refuseStrangers(given: GivenFlags): void {
  const refuse = (name: string, problem: string, expected: string): never => {
    throw new ConfigError(`--${name}`, problem, expected);
  };
  const login = loginFlags.find((name) => given.has(name));
  if (!given.has('host') && login !== undefined) {
    refuse(login, `\`--${login}\` requires \`--host\``, '`--host`, or neither of them');
  }
  if (given.has('host') && given.get('sudo') === 'true') {
    refuse(
      'sudo',
      '`--sudo` cannot be combined with `--host`',
      '`--host` alone; sudo is used there if needed',
    );
  }
  if (given.has('restore') && given.get('json') === 'true') {
    refuse('json', '`--restore` does not support `--json`', '`--restore` without `--json`');
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

/** The inputs that flags provide; those for the login only with `--host`. */
export function inputsFor(remote: boolean): Inputs {
  if (remote) return cleanupInputs;
  const login = new Set(['host', 'port', 'user', 'ssh-key', 'ssh-key-passphrase', 'known-hosts']);
  return Object.fromEntries(Object.entries(cleanupInputs).filter(([name]) => !login.has(name)));
}

/** `input threshold` → `--threshold`: on a terminal there are flags, not inputs. */
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
    "Repairs stuck and orphaned jobs in the app's own tables, on this machine or on a host over SSH.",
    '`celeriac --version` prints the version.',
    '',
    ...lines,
    '',
    'Exit codes: 0 nothing to repair, or everything repaired; 1 failed, and all changes were undone;',
    '2 invalid usage; 3 a dry run found something to repair; 4 some rows were skipped; 130 interrupted.',
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
