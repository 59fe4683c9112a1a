import { parseArgs } from 'node:util';
import { hostInputs, loginInputs } from '../config/host-inputs.ts';
import type { Input, Inputs } from '../config/input.ts';
import { ConfigError } from '../model/errors.ts';
import { nearest } from './nearest.ts';

/** A flag of the command line. */
export interface Flag {
  readonly name: string;
  readonly takes: string;
  readonly fallback: string;
  readonly description: string;
  /** Takes no value, and can be negated with `--no-`. */
  readonly isSwitch: boolean;
}

/** Inputs for which there is a flag of another form. */
const replaced: ReadonlySet<string> = new Set(['host', 'known-hosts', 'fleet-file']);

/** Variable with the passphrase of the key: a flag would be visible in the list of processes. */
export const passphraseVariable = 'CELERIAC_SSH_KEY_PASSPHRASE';

const isSwitch = ({ json }: Input<unknown>): boolean => json?.type === 'boolean';

/** Of every command that has something to print for programs. */
export const jsonFlag: Flag = {
  name: 'json',
  takes: '',
  fallback: '',
  description: 'Print one JSON document instead of text; progress still goes to stderr.',
  isSwitch: true,
};

/** Of commands that print a report. */
export const reportFlag: Flag = {
  ...jsonFlag,
  description: 'Print the report as JSON (docs/reference/report.schema.json).',
};

/** Where a command works: on this machine, or on a host over SSH. */
export const placeFlags: readonly Flag[] = [
  {
    name: 'host',
    takes: 'a host name or an IP address',
    fallback: 'this machine',
    description: 'Host to work on, over SSH: a name, an address, or a `Host` of ~/.ssh/config.',
    isSwitch: false,
  },
  {
    name: 'ssh-key-file',
    takes: 'a path',
    fallback:
      'IdentityFile of ~/.ssh/config, else the ssh-agent (SSH_AUTH_SOCK), else ~/.ssh/id_ed25519, else ~/.ssh/id_ecdsa, else ~/.ssh/id_rsa',
    description: `With \`--host\`: file with the private key. Its passphrase, if any, is read from ${passphraseVariable}.`,
    isSwitch: false,
  },
  {
    name: 'known-hosts-file',
    takes: 'a path',
    fallback: 'UserKnownHostsFile of ~/.ssh/config, else ~/.ssh/known_hosts',
    description: "With `--host`: file with the server's host keys. The check cannot be disabled.",
    isSwitch: false,
  },
  {
    name: 'ssh-config-file',
    takes: 'a path, or `none`',
    fallback: '~/.ssh/config',
    description:
      'With `--host`: configuration of ssh, in which the host is looked up: HostName, User, Port, IdentityFile, IdentityAgent, ProxyJump, UserKnownHostsFile. Flags come first.',
    isSwitch: false,
  },
  {
    name: 'sudo',
    takes: '',
    fallback: '',
    description: 'Without `--host`: work as root, with `sudo -n`.',
    isSwitch: true,
  },
];

/** The part of a command of which its flags are made. */
export interface FlagSource {
  readonly name: string;
  /** Become flags, except those that come from files and the environment. */
  readonly inputs: Inputs;
  /** A word that comes before the flags, and must be there. */
  readonly argument?: { readonly name: string; readonly choices: readonly string[] };
  /** Flags that are no inputs; displayed after those of the command, before those of the login. */
  readonly own: readonly Flag[];
  /** Refuses flags that cannot be combined. */
  readonly refuse: (given: GivenFlags) => void;
}

/** A secret would be visible in the list of processes. */
const isFlag = (name: string, { secret }: Input<unknown>): boolean =>
  !replaced.has(name) && !secret;

/** Every flag of a command, in display order. */
export const flagsOf = ({ inputs, own }: FlagSource): readonly Flag[] => [
  ...Object.entries(inputs)
    .filter(([name, input]) => isFlag(name, input) && !(name in hostInputs))
    .map(([name, input]) => flagOf(name, input)),
  ...own,
  ...Object.entries(inputs)
    .filter(([name, input]) => isFlag(name, input) && name in hostInputs)
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

/** The inputs of the login that are flags of the same name. */
export const loginFlags: readonly string[] = Object.entries(loginInputs)
  .filter(([name, input]) => isFlag(name, input))
  .map(([name]) => name);

/** The files that a login reads. */
export const loginFileFlags: readonly string[] = placeFlags
  .map(({ name }) => name)
  .filter((name) => name.endsWith('-file'));

/**
 * Parses the arguments after `celeriac <command>`.
 *
 * @throws ConfigError for an unknown flag, a missing value, or flags that cannot be combined
 */
export function parseFlags(command: FlagSource, words: readonly string[]): GivenFlags {
  const flags = flagsOf(command);
  const [argument, rest] = takeArgument(command, words);
  const joined = joinValues(flags, joinSwitches(flags, rest));
  const given = new Map([...argument, ...readWords(command, flags, joined)]);
  refuseEmpty(flags, given);
  refuseStrangers(given);
  command.refuse(given);
  return given;
}

/** @throws ConfigError when the word is missing, or is none of the choices */
function takeArgument(
  { name, argument }: FlagSource,
  words: readonly string[],
): readonly [GivenFlags, readonly string[]] {
  if (argument === undefined) return [new Map(), words];
  const [word = '', ...rest] = words;
  if (argument.choices.includes(word)) return [new Map([[argument.name, word]]), rest];
  const problem = word === '' ? `missing ${argument.name}` : `unknown ${argument.name} \`${word}\``;
  const expected = `\`celeriac ${name} ${argument.choices.join('|')}\``;
  throw new ConfigError('command line', problem, expected);
}

/** `--orphans false` and `--orphans=false` → `--no-orphans`: as inputs are written in workflows. */
function joinSwitches(flags: readonly Flag[], words: readonly string[]): readonly string[] {
  const switches = new Set(flags.filter((flag) => flag.isSwitch).map(({ name }) => name));
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
function joinValues(flags: readonly Flag[], words: readonly string[]): readonly string[] {
  const takers = new Set(flags.filter((flag) => !flag.isSwitch).map(({ name }) => name));
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
function refuseEmpty(flags: readonly Flag[], given: GivenFlags): void {
  for (const [name, text] of given) {
    if (text.trim() !== '') continue;
    const takes = flags.find((flag) => flag.name === name)?.takes ?? '';
    const expected = takes.replace(/,? or empty$/, '');
    refuseFlag(name, `\`--${name}\` is empty`, `${expected}; or no \`--${name}\``);
  }
}

/** A login flag without `--host` means that `--host` was forgotten. */
function refuseStrangers(given: GivenFlags): void {
  const login = [...loginFlags, ...loginFileFlags].find((name) => given.has(name));
  if (!given.has('host') && !given.has('fleet') && login !== undefined) {
    refuseFlag(login, `\`--${login}\` requires \`--host\``, '`--host`, or neither of them');
  }
  const over = ['host', 'fleet'].find((name) => given.has(name));
  if (over !== undefined && given.get('sudo') === 'true') {
    const expected = `\`--${over}\` alone; sudo is used there if needed`;
    refuseFlag('sudo', `\`--sudo\` cannot be combined with \`--${over}\``, expected);
  }
}

/** @throws ConfigError */
export function refuseFlag(name: string, problem: string, expected: string): never {
  throw new ConfigError(`--${name}`, problem, expected);
}

function readWords(
  command: FlagSource,
  flags: readonly Flag[],
  words: readonly string[],
): GivenFlags {
  refuseUnknown(command, flags, words);
  const options = Object.fromEntries(
    flags.map(({ name, isSwitch }) => [
      name,
      { type: isSwitch ? ('boolean' as const) : ('string' as const) },
    ]),
  );
  try {
    const { values } = parseArgs({ args: [...words], options, allowNegative: true });
    return new Map(Object.entries(values).map(([name, value]) => [name, String(value)]));
  } catch (error) {
    const problem = (error as Error).message.split('\n')[0]?.split('. ')[0] ?? '';
    throw new ConfigError('command line', problem, listedBy(command));
  }
}

function refuseUnknown(
  command: FlagSource,
  flags: readonly Flag[],
  words: readonly string[],
): void {
  const known = flags.flatMap(({ name, isSwitch }) => (isSwitch ? [name, `no-${name}`] : [name]));
  for (const word of words) {
    const name = /^--([A-Za-z][^=]*)/s.exec(word)?.[1];
    if (name === undefined || known.includes(name)) continue;
    const meant = nearest(name, known);
    const expected = meant === null ? listedBy(command) : `\`--${meant}\`? ${listedBy(command)}`;
    throw new ConfigError('command line', `unknown flag \`--${name}\``, expected);
  }
}

const listedBy = ({ name }: FlagSource): string =>
  `flags as \`celeriac ${name} --help\` lists them`;

/** The inputs that flags provide; those for the login only with `--host`. */
export function inputsFor<Set extends Inputs>(inputs: Set, remote: boolean): Set {
  if (remote) return inputs;
  const others = Object.entries(inputs).filter(([name]) => !Object.hasOwn(loginInputs, name));
  return Object.fromEntries(others) as Set;
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
  // `celeriac rollback` has no other input.
  if (input === 'roll-back') return '--to';
  return input === 'ssh-key' || input === 'known-hosts' ? `--${input}-file` : `--${input}`;
}
