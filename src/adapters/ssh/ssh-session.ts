import { NodeSSH } from 'node-ssh';
import type { AnyAuthMethod, AuthenticationType, Client, ClientChannel } from 'ssh2';
import { HostError } from '../../model/errors.ts';
import { type Seconds, seconds } from '../../model/units.ts';
import { type Clock, systemClock } from '../clock.ts';
import { describeKey, type HostKeyVerdict, type HostPins, pinnedKeys } from './known-hosts.ts';
import { type LoginKey, parseLoginKey } from './login-key.ts';

/** Where to log in, as the inputs say it. */
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
  /** How often to try in all. */
  readonly attempts: number;
  /** From the TCP connection to the login's end, for each attempt. */
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

export interface SessionOptions {
  readonly target: SshTarget;
  readonly policy?: Partial<ConnectPolicy>;
  readonly clock?: Clock;
}

/** Speaks of what a person may want to know while it goes on, e.g. a retry. */
export type OnNote = (message: string) => void;

const CONNECT_STEP = 'connect over SSH';
const BANNER_KEPT_CHARACTERS = 4096;

/**
 * Connects: host key pinned before authentication, retries only while nothing was sent to log in.
 *
 * @throws ConfigError for unusable `known-hosts`, `ssh-key` or `ssh-key-passphrase`; HostError when
 * the server cannot be reached, shows another host key, or refuses the login.
 */
export async function openSession(options: SessionOptions, onNote: OnNote): Promise<SshSession> {
  const { target, clock = systemClock } = options;
  const policy = { ...DEFAULT_CONNECT_POLICY, ...options.policy };
  const pins = pinnedKeys(target.knownHosts, target.host, target.port);
  const key = parseLoginKey(target.key, target.passphrase);
  const begun = clock.now();
  const where = address(target);

  for (let attempt = 1; ; attempt += 1) {
    const result = await attemptConnection(target, key, pins, policy);
    if (result.kind === 'connected') {
      return new SshSession(target, result.ssh, result.client, {
        connectSeconds: seconds(clock.now() - begun),
        policy,
      });
    }
    if (result.kind === 'refused') throw result.error;
    if (attempt >= policy.attempts) {
      throw unreachable(target, attempt, result.cause, result.error);
    }
    const pause = seconds(policy.backoff * 2 ** (attempt - 1));
    onNote(
      `${where}: ${result.cause}; attempt ${attempt} of ${policy.attempts}, again in ${pause} s`,
    );
    await clock.sleep(pause);
  }
}

/** One logged-in connection. */
export class SshSession implements AsyncDisposable {
  readonly target: SshTarget;
  readonly connectSeconds: Seconds;
  readonly handshakes = 1;
  readonly #ssh: NodeSSH;
  readonly #client: Client;
  readonly #policy: ConnectPolicy;
  readonly #listeners = new Set<(reason: string) => void>();
  #execs = 0;
  #lastError: Error | null = null;
  #state: 'open' | 'closing' | 'lost' = 'open';

  constructor(
    target: SshTarget,
    ssh: NodeSSH,
    client: Client,
    facts: { readonly connectSeconds: Seconds; readonly policy: ConnectPolicy },
  ) {
    this.target = target;
    this.#ssh = ssh;
    this.#client = client;
    this.#policy = facts.policy;
    this.connectSeconds = facts.connectSeconds;
    // node-ssh removes its own listener once connected; without one, an error ends the process.
    client.on('error', (error) => {
      this.#lastError = error;
    });
    client.on('close', () => this.#lose());
  }

  get execs(): number {
    return this.#execs;
  }

  /** Calls back once when the connection is gone without having been closed from here. */
  onLost(listener: (reason: string) => void): void {
    this.#listeners.add(listener);
  }

  /**
   * Opens a channel on which the server's login shell runs the command line.
   *
   * @param point What it is for, in words for people.
   */
  async exec(command: string, point: string): Promise<ClientChannel> {
    this.#assertOpen(point);
    this.#execs += 1;
    const { connectTimeout } = this.#policy;
    return new Promise((resolve, reject) => {
      const settle = (how: () => void) => {
        clearTimeout(timer);
        this.#listeners.delete(lost);
        how();
      };
      const lost = (reason: string) => settle(() => reject(this.lostError(point, reason)));
      const timer = setTimeout(
        () => settle(() => reject(this.#noChannel(point, `no answer within ${connectTimeout} s`))),
        connectTimeout * 1000,
      );
      this.#listeners.add(lost);
      this.#client.exec(command, (error, channel) => {
        if (error === undefined || error === null) settle(() => resolve(channel));
        else settle(() => reject(this.#noChannel(point, error.message)));
      });
    });
  }

  /** The error of work that was going on when the connection went away. */
  lostError(point: string, reason: string): HostError {
    return new HostError(
      `The connection to ${address(this.target)} was lost at: ${point} (${reason}).`,
      {
        step: point,
        evidence: [],
        next: 'Check that the server is up and the network to it, then run again: what the host holds is read anew.',
      },
    );
  }

  async close(): Promise<void> {
    if (this.#state !== 'open') return;
    this.#state = 'closing';
    await new Promise<void>((resolve) => {
      const force = setTimeout(() => {
        this.#client.destroy();
        resolve();
      }, 2000);
      this.#client.once('close', () => {
        clearTimeout(force);
        resolve();
      });
      this.#ssh.dispose();
      this.#client.end();
    });
  }

  /** Drops the connection at once: the other side sees end-of-file. */
  destroy(): void {
    if (this.#state === 'open') this.#state = 'closing';
    this.#client.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #noChannel(point: string, reason: string): HostError {
    const { user } = this.target;
    return new HostError(`${address(this.target)} did not run a command: ${reason}.`, {
      step: point,
      evidence: [],
      next: `Expected: the login of ${user} may run commands. Look for a sftp-only login, \`MaxSessions 0\` or a restricted key in sshd_config and authorized_keys.`,
    });
  }

  #assertOpen(point: string): void {
    if (this.#state === 'open') return;
    throw this.lostError(point, this.#state === 'lost' ? this.#reason() : 'it is closed');
  }

  #lose(): void {
    if (this.#state !== 'open') return;
    this.#state = 'lost';
    const reason = this.#reason();
    for (const listener of [...this.#listeners]) listener(reason);
    this.#listeners.clear();
  }

  #reason(): string {
    const error = this.#lastError;
    if (error === null) return 'the server closed it';
    if (error.message === 'Keepalive timeout') {
      const { keepaliveCount, keepaliveInterval } = this.#policy;
      return `no reply to ${keepaliveCount} keepalives, ${keepaliveInterval} s apart`;
    }
    return describeCause(error, null);
  }
}

type Attempt =
  | { readonly kind: 'connected'; readonly ssh: NodeSSH; readonly client: Client }
  /** Nothing was sent to log in: another attempt does no harm. */
  | { readonly kind: 'failed'; readonly cause: string; readonly error: Error }
  | { readonly kind: 'refused'; readonly error: HostError };

/** What an attempt has seen so far; it decides how its failure is told. */
interface Sightings {
  verdict: HostKeyVerdict | null;
  /** The server's host key algorithms. */
  offered: string | null;
  loginSent: boolean;
  /** What the server would have taken instead of the key. */
  methodsLeft: readonly AuthenticationType[];
  partial: boolean;
  connected: boolean;
  /** What the server said before the login was over: why an account is shut, or just a greeting. */
  banner: string;
  firstError: Error | null;
}

async function attemptConnection(
  target: SshTarget,
  key: LoginKey,
  pins: HostPins,
  policy: ConnectPolicy,
): Promise<Attempt> {
  const seen: Sightings = {
    verdict: null,
    offered: null,
    loginSent: false,
    methodsLeft: [],
    partial: false,
    connected: false,
    banner: '',
    firstError: null,
  };
  const ssh = new NodeSSH();
  const connecting = ssh.connect({
    host: target.host,
    port: target.port,
    username: target.user,
    readyTimeout: policy.connectTimeout * 1000,
    keepaliveInterval: policy.keepaliveInterval * 1000,
    keepaliveCountMax: policy.keepaliveCount,
    algorithms: { serverHostKey: [...pins.algorithms] as ServerHostKeyAlgorithms },
    hostVerifier: (shown: Buffer) => {
      seen.verdict = pins.verify(shown);
      return seen.verdict.kind === 'accepted';
    },
    authHandler: (methodsLeft, partial, next) => {
      if (seen.loginSent) {
        seen.methodsLeft = methodsLeft ?? [];
        seen.partial = partial === true;
        // `false` ends the login; the types know only of methods.
        (next as (method: AnyAuthMethod | false) => void)(false);
        return;
      }
      seen.loginSent = true;
      next({ type: 'publickey', username: target.user, key: key.parsed });
    },
    debug: (line: string) => {
      seen.offered ??= /^Handshake: \(remote\) Host key format: (.+)$/.exec(line)?.[1] ?? null;
    },
  });
  // Set by connect() before its first await.
  const client = ssh.connection;
  client?.on('connect', () => {
    seen.connected = true;
    // Small messages, each waiting for its answer: Nagle's algorithm would hold every one back.
    client.setNoDelay(true);
  });
  client?.on('banner', (message) => {
    seen.banner = (seen.banner + message).slice(-BANNER_KEPT_CHARACTERS);
  });
  client?.on('error', (error) => {
    seen.firstError ??= error;
  });
  try {
    await connecting;
    if (client === null) throw new Error('the connection ended as soon as it was made');
    return { kind: 'connected', ssh, client };
  } catch (caught) {
    client?.destroy();
    const error = seen.firstError ?? (caught instanceof Error ? caught : new Error(String(caught)));
    return judgeFailure(target, key, pins, seen, error, policy);
  }
}

type ServerHostKeyAlgorithms = NonNullable<
  Extract<
    NonNullable<NonNullable<Parameters<NodeSSH['connect']>[0]['algorithms']>['serverHostKey']>,
    readonly unknown[]
  >
>;

function judgeFailure(
  target: SshTarget,
  key: LoginKey,
  pins: HostPins,
  seen: Sightings,
  error: Error,
  policy: ConnectPolicy,
): Attempt {
  const refused = (refusal: HostError): Attempt => ({ kind: 'refused', error: refusal });
  if (seen.verdict !== null && seen.verdict.kind !== 'accepted') {
    return refused(wrongHostKey(target, pins, seen.verdict));
  }
  if (/no matching host key format/.test(error.message)) {
    return refused(noPinnedKeyOffered(target, pins, seen.offered));
  }
  if (property(error, 'level') === 'client-authentication') {
    return refused(refusedLogin(target, key, seen));
  }
  const cause = describeCause(error, policy.connectTimeout);
  if (seen.loginSent) return refused(brokenLogin(target, key, seen, cause, error));
  if (isLasting(error, seen)) return refused(unreachable(target, 1, cause, error));
  return { kind: 'failed', cause, error };
}

/** Failures that the next attempt would meet again. */
function isLasting(error: Error, seen: Sightings): boolean {
  if (property(error, 'code') === 'ENOTFOUND') return true;
  if (/^Connection lost before handshake$/.test(error.message)) return false;
  const level = property(error, 'level');
  if (level === 'client-socket' || level === 'client-timeout') return false;
  // Closed in the midst of the handshake (node-ssh), or a disconnect message such as "too busy".
  if (property(error, 'code') !== undefined) return false;
  return seen.connected;
}

function property(error: Error, name: 'code' | 'level'): unknown {
  return name in error ? Reflect.get(error, name) : undefined;
}

function describeCause(error: Error, connectTimeout: Seconds | null): string {
  const code = property(error, 'code');
  switch (code) {
    case 'ECONNREFUSED':
      return 'the connection was refused';
    case 'ECONNRESET':
    case 'EPIPE':
      return 'the connection was reset';
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
      return 'there is no route to it';
    case 'ENOTFOUND':
      return 'its name does not resolve';
    case 'EAI_AGAIN':
      return 'its name could not be resolved for the time being';
  }
  if (/^Timed out while waiting for handshake$/.test(error.message)) {
    return connectTimeout === null ? 'no answer' : `no answer within ${connectTimeout} s`;
  }
  if (/^(Connection lost before handshake|No response from server)$/.test(error.message)) {
    return 'the server closed the connection';
  }
  if (code === 'ETIMEDOUT') return 'no answer';
  if (/^Invalid (identification string|header)/.test(error.message)) {
    return 'what answers there does not speak SSH';
  }
  return error.message === '' ? String(code ?? error.name) : error.message;
}

function address(target: SshTarget): string {
  const host = target.host.includes(':') ? `[${target.host}]` : target.host;
  return `${host}:${target.port}`;
}

function unreachable(target: SshTarget, attempts: number, cause: string, error: Error): HostError {
  const times = attempts === 1 ? '1 attempt' : `${attempts} attempts`;
  return new HostError(
    `${address(target)} cannot be reached: ${cause} (${times}).`,
    {
      step: CONNECT_STEP,
      evidence: [],
      next: 'Check the inputs `host` and `port`, that the server is up, and that its firewall lets this runner in.',
    },
    { cause: error },
  );
}

function wrongHostKey(
  target: SshTarget,
  pins: HostPins,
  verdict: Exclude<HostKeyVerdict, { kind: 'accepted' }>,
): HostError {
  const got = describeKey(verdict.got);
  if (verdict.kind === 'revoked') {
    return new HostError(`${address(target)} shows the host key ${got}, which is revoked.`, {
      step: CONNECT_STEP,
      evidence: [`known-hosts line ${verdict.line}: @revoked`],
      next: 'Do not trust this server until you know why. Give it a new host key, and put that into `known-hosts`.',
    });
  }
  const expected = pins.expected.map(describeKey);
  return new HostError(
    `The host key of ${address(target)} is not the one in \`known-hosts\`: expected ${expected.join(' or ')}, got ${got}. Nothing was sent to it.`,
    {
      step: CONNECT_STEP,
      evidence: [...expected.map((line) => `expected: ${line}`), `got:      ${got}`],
      next: 'If the server was reinstalled, compare the key on its console (`ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub`) and mend `known-hosts`. If it was not, someone may stand between: find out before you go on.',
    },
  );
}

function noPinnedKeyOffered(target: SshTarget, pins: HostPins, offered: string | null): HostError {
  const expected = pins.expected.map(describeKey);
  const came = offered === null ? 'none of them' : `only ${offered.replaceAll(',', ', ')}`;
  return new HostError(
    `${address(target)} has no host key of the type in \`known-hosts\`: expected ${expected.join(' or ')}, it offers ${came}. Nothing was sent to it.`,
    {
      step: CONNECT_STEP,
      evidence: [...expected.map((line) => `expected: ${line}`), `offered:  ${offered ?? 'none'}`],
      next: `If the server's keys were changed on purpose, compare \`ssh-keyscan -p ${target.port} ${target.host}\` with its console and mend \`known-hosts\`.`,
    },
  );
}

function refusedLogin(target: SshTarget, key: LoginKey, seen: Sightings): HostError {
  const keyText = `${key.fingerprint} (${key.type})`;
  const methods = seen.methodsLeft.join(', ');
  if (seen.partial) {
    return new HostError(
      `${address(target)} took the key of ${target.user} but asks for a second proof: ${methods}.`,
      {
        step: CONNECT_STEP,
        evidence: [`key: ${keyText}`],
        next: `Expected: the key alone is enough. Set \`AuthenticationMethods publickey\` for ${target.user} in sshd_config.`,
      },
    );
  }
  const noKeys = methods !== '' && !seen.methodsLeft.includes('publickey');
  return new HostError(
    `${address(target)} refused the login of ${target.user} with the key ${keyText}. It was tried once, and is not tried again.`,
    {
      step: CONNECT_STEP,
      evidence: [
        ...(methods === '' ? [] : [`the server accepts: ${methods}`]),
        ...tail(seen.banner, 5),
      ],
      next: noKeys
        ? `Allow keys for ${target.user} on the server (\`PubkeyAuthentication yes\` in sshd_config).`
        : `Put this line into ~${target.user}/.ssh/authorized_keys on the server: \`${key.authorizedLine}\`. If it is there, check the input \`user\`, the owner and mode of that file (600), and \`AllowUsers\` and \`PermitRootLogin\` in sshd_config.`,
    },
  );
}

function brokenLogin(
  target: SshTarget,
  key: LoginKey,
  seen: Sightings,
  cause: string,
  error: Error,
): HostError {
  return new HostError(
    `${address(target)} ended the connection while ${target.user} was logging in: ${cause}. It is not tried again.`,
    {
      step: CONNECT_STEP,
      evidence: [`key: ${key.fingerprint} (${key.type})`, ...tail(seen.banner, 5)],
      next: `Read the server's log (\`journalctl -t sshd\`): the account may have expired (\`chage -l ${target.user}\`) or be locked, or there were too many logins.`,
    },
    { cause: error },
  );
}

/** The last lines that are not empty. */
export function tail(text: string, count: number): readonly string[] {
  return text
    .split('\n')
    .map((line) => line.trimEnd())
    .filter((line) => line !== '')
    .slice(-count);
}
