import { type Seconds, seconds } from '../../model/units.ts';

/** Where to log in, from the inputs. */
export interface SshTarget {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  /** Text of the private key. */
  readonly key: string;
  readonly passphrase?: string;
  /** Text in the format of known_hosts. */
  readonly knownHosts: string;
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
}

export const DEFAULT_CONNECT_POLICY: ConnectPolicy = {
  attempts: 4,
  connectTimeout: seconds(20),
  backoff: seconds(2),
  keepaliveInterval: seconds(15),
  keepaliveCount: 4,
};

/** `host:port`, as people write it. */
export function address(target: SshTarget): string {
  const host = target.host.includes(':') ? `[${target.host}]` : target.host;
  return `${host}:${target.port}`;
}
