import { type Seconds, seconds } from '../../model/units.ts';

/** Where to log in, from the inputs. */
export interface SshTarget {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  /** Text of the private key; empty: the keys of the ssh-agent. */
  readonly key: string;
  readonly passphrase?: string;
  /** Like `key`: used if the ssh-agent has no key that can be used. */
  readonly keyWithoutAgent?: string;
  /** Of the ssh-agent; absent: SSH_AUTH_SOCK. */
  readonly agentSocket?: string;
  /** Text in the format of known_hosts. */
  readonly knownHosts: string;
  /** The host through which it is reached, with the same login and known hosts. */
  readonly jump?: JumpHost | null;
}

/** A host that only passes the connection on. */
export interface JumpHost {
  readonly host: string;
  readonly port: number;
  /** `null`: that of the target. */
  readonly user: string | null;
}

export interface ConnectPolicy {
  /** Total number of attempts. */
  readonly attempts: number;
  /** For each attempt, from the TCP connection to the end of the login. */
  readonly connectTimeout: Seconds;
  /** Pause after the first failure; it doubles with each further one. */
  readonly backoff: Seconds;
  readonly keepaliveInterval: Seconds;
  /** Unanswered keepalives after which the connection counts as lost. */
  readonly keepaliveCount: number;
  /** How long the goodbye may wait for a network that takes nothing. */
  readonly closeTimeout: Seconds;
}

export const DEFAULT_CONNECT_POLICY: ConnectPolicy = {
  attempts: 4,
  connectTimeout: seconds(20),
  backoff: seconds(2),
  keepaliveInterval: seconds(15),
  keepaliveCount: 4,
  closeTimeout: seconds(2),
};

/** `host:port`, as people write it. */
export function address(target: Pick<SshTarget, 'host' | 'port'>): string {
  const host = target.host.includes(':') ? `[${target.host}]` : target.host;
  return `${host}:${target.port}`;
}
