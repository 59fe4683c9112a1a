import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { AgentOptions } from '../adapters/agent/agent-options.ts';
import { LocalConnection } from '../adapters/local-connection.ts';
import { linesForHost } from '../adapters/ssh/known-hosts.ts';
import { type HostValues, hostInputs } from '../config/action-inputs.ts';
import { hostProgram } from '../generated/host-program.ts';
import { ConfigError } from '../model/errors.ts';
import { type GivenFlags, passphraseVariable } from './flags.ts';

/** The user at the terminal; `uid` 0 is root. */
export interface Person {
  readonly name: string;
  readonly uid: number;
}

/**
 * The values of the inputs, as text; the private key and the known hosts are read from their files.
 *
 * @throws ConfigError when one of these files cannot be read, or does not contain the host
 */
export function givenBy(flags: GivenFlags): (name: string) => string {
  return (name) => {
    if (!flags.has('host')) return flags.get(name) ?? '';
    if (name === 'ssh-key') return readKey(flags.get('ssh-key-file'));
    if (name === 'known-hosts') return readKnownHosts(flags);
    if (name === 'ssh-key-passphrase') return process.env[passphraseVariable] ?? '';
    return flags.get(name) ?? '';
  };
}

function readKey(given: string | undefined): string {
  if (given === undefined && hasAgent()) return '';
  // Without any key, the error names the usual file.
  const chosen = given ?? presentKeys()[0] ?? standardKeys()[0] ?? '';
  return readFile('ssh-key-file', chosen);
}

/** Like ssh: an agent first, then the usual files. */
function readSpareKey(flags: GivenFlags): string {
  const [path] = presentKeys();
  if (flags.has('ssh-key-file') || !hasAgent() || path === undefined) return '';
  return readFile('ssh-key-file', path);
}

const hasAgent = (): boolean => (process.env.SSH_AUTH_SOCK ?? '') !== '';

const standardKeys = (): readonly string[] =>
  ['id_ed25519', 'id_rsa'].map((file) => join(homedir(), '.ssh', file));

const presentKeys = (): readonly string[] => standardKeys().filter((file) => existsSync(file));

function readKnownHosts(flags: GivenFlags): string {
  const path = flags.get('known-hosts-file') ?? join(homedir(), '.ssh', 'known_hosts');
  const port = Number(flags.get('port') ?? hostInputs.port.fallback);
  const text = readFile('known-hosts-file', path);
  const lines = linesForHost(text, flags.get('host') ?? '', port);
  const { jump } = hostInputs['proxy-jump'].schema.safeParse(flags.get('proxy-jump') ?? '')
    .data ?? {
    jump: null,
  };
  return jump === null ? lines : `${lines}\n${linesForHost(text, jump.host, jump.port)}`;
}

function readFile(flag: string, path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    const problem = `cannot read ${path}`;
    throw new ConfigError(`--${flag}`, problem, 'the path of an existing file', { cause });
  }
}

/**
 * How to reach the agent: over SSH with `--host`, otherwise as a child process.
 *
 * @throws ConfigError when the user is not root and this is not a dry run
 */
export function connectionOf(
  flags: GivenFlags,
  inputs: Omit<HostValues, 'fleet-file' | 'agent'> & Partial<Pick<HostValues, 'agent'>>,
  person: Person,
  { onlyRoot = false } = {},
): AgentOptions {
  if (flags.has('host')) {
    const { host, port, user } = inputs;
    const login = { key: inputs['ssh-key'], passphrase: inputs['ssh-key-passphrase'] };
    const { jump } = inputs['proxy-jump'];
    const keyWithoutAgent = readSpareKey(flags);
    const knownHosts = inputs['known-hosts'];
    const target = { host, port, user, ...login, keyWithoutAgent, knownHosts, jump };
    const policy = { connectTimeout: inputs['connect-timeout'] };
    return { target, policy, program: hostProgram, kind: inputs.agent ?? 'streamed' };
  }
  const bySudo = person.uid !== 0 && flags.get('sudo') === 'true';
  if (person.uid !== 0 && !bySudo && (onlyRoot || !inputs['dry-run'])) {
    const problem = `${person.name} is not root; only root can make changes`;
    const looking = onlyRoot ? '' : '`--dry-run`, ';
    throw new ConfigError('command line', problem, `${looking}\`--sudo\`, or to be run as root`);
  }
  // The agent is started with sudo for any user but root.
  const user = bySudo ? person.name : 'root';
  return {
    program: hostProgram,
    connect: async () => new LocalConnection(user),
  };
}
