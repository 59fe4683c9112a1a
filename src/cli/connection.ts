import type { AgentOptions } from '../adapters/agent/agent-options.ts';
import { LocalConnection } from '../adapters/local-connection.ts';
import type { HostValues } from '../config/host-inputs.ts';
import { hostProgram } from '../generated/host-program.ts';
import { ConfigError } from '../model/errors.ts';
import { type GivenFlags, passphraseVariable } from './flags.ts';
import { readSshLogin, type SshLogin } from './ssh-login.ts';

/** The user at the terminal; `uid` 0 is root. */
export interface Person {
  readonly name: string;
  readonly uid: number;
}

const notes = new WeakMap<AgentOptions, readonly string[]>();

/** What people should know about a connection before it is made. */
export const notesOf = (options: AgentOptions): readonly string[] => notes.get(options) ?? [];

/** Read once for each set of flags. */
const logins = new WeakMap<GivenFlags, SshLogin>();

/**
 * How the flags and `~/.ssh/config` log in to the host.
 *
 * @throws ConfigError as `readSshLogin`
 */
export function loginOf(flags: GivenFlags): SshLogin {
  const login = logins.get(flags) ?? readSshLogin(flags);
  logins.set(flags, login);
  return login;
}

/**
 * The values of the inputs, as text; the private key and the known hosts are read from their files.
 *
 * @throws ConfigError when one of these files cannot be read, or does not contain the host
 */
export function givenBy(flags: GivenFlags): (name: string) => string {
  return (name) => {
    if (!flags.has('host')) return flags.get(name) ?? '';
    switch (name) {
      case 'host':
      case 'port':
      case 'user':
        return loginOf(flags)[name];
      case 'proxy-jump':
        return loginOf(flags).proxyJump;
      case 'ssh-key':
        return loginOf(flags).key;
      case 'known-hosts':
        return loginOf(flags).knownHosts();
      case 'ssh-key-passphrase':
        return process.env[passphraseVariable] ?? '';
      default:
        return flags.get(name) ?? '';
    }
  };
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
    const { keyWithoutAgent, agentSocket } = loginOf(flags);
    const knownHosts = inputs['known-hosts'];
    const spare = { keyWithoutAgent, agentSocket };
    const target = { host, port, user, ...login, ...spare, knownHosts, jump };
    const policy = { connectTimeout: inputs['connect-timeout'] };
    const kind = inputs.agent ?? 'streamed';
    const options = { target, policy, program: hostProgram, kind };
    notes.set(options, loginOf(flags).notes);
    return options;
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
