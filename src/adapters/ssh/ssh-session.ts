import type { Duplex } from 'node:stream';
import { finished } from 'node:stream/promises';
import type { NodeSSH } from 'node-ssh';
import type { Client, ClientChannel } from 'ssh2';
import { HostError } from '../../model/errors.ts';
import { type Seconds, seconds } from '../../model/units.ts';
import { type Clock, systemClock } from '../clock.ts';
import { type Attempt, attemptConnection } from './connect-attempt.ts';
import { describeCause, forwardingRefused, unreachable } from './connect-errors.ts';
import { pinnedKeys } from './known-hosts.ts';
import { prepareLogin } from './login.ts';
import {
  address,
  type ConnectPolicy,
  DEFAULT_CONNECT_POLICY,
  type SshTarget,
} from './ssh-target.ts';

export interface SessionOptions {
  readonly target: SshTarget;
  readonly policy?: Partial<ConnectPolicy>;
  readonly clock?: Clock;
}

/** Reports what people may want to know while it runs, e.g. a retry. */
export type OnNote = (message: string) => void;

/**
 * Connects: checks the host key before authentication, and retries until a server takes up logins.
 *
 * @throws ConfigError for unusable `known-hosts`, `ssh-key` or `ssh-key-passphrase`; HostError when
 * the server cannot be reached, shows another host key, or refuses the login.
 */
export async function openSession(options: SessionOptions, onNote: OnNote): Promise<SshSession> {
  const { target, clock = systemClock } = options;
  const policy = { ...DEFAULT_CONNECT_POLICY, ...options.policy };
  const pins = pinnedKeys(target.knownHosts, target.host, target.port);
  const login = await prepareLogin(target, target.agentSocket ?? process.env.SSH_AUTH_SOCK ?? '');
  const begun = clock.now();
  const where = address(target);
  const via = await openJump(options, onNote);
  try {
    for (let attempt = 1; ; attempt += 1) {
      const sock = via === null ? null : await via.reach(target);
      const result =
        sock !== null && 'kind' in sock
          ? sock
          : await attemptConnection(target, login, pins, policy, sock);
      if (result.kind === 'connected') {
        return new SshSession(target, result, {
          connectSeconds: seconds(clock.now() - begun),
          policy,
          via,
        });
      }
      if (result.kind === 'refused') throw result.error;
      if (attempt >= policy.attempts) {
        throw unreachable(target, attempt, result.cause, result.error);
      }
      const pause = seconds(policy.backoff * 2 ** (attempt - 1));
      onNote(
        `${where}: ${result.cause} (attempt ${attempt} of ${policy.attempts}); retrying in ${pause} s`,
      );
      await clock.sleep(pause);
    }
  } catch (error) {
    await via?.close();
    throw error;
  }
}

/** The connection to the host in between; its key is pinned like any other. */
async function openJump(options: SessionOptions, onNote: OnNote): Promise<SshSession | null> {
  const { target } = options;
  if (target.jump === undefined || target.jump === null) return null;
  const { host, port, user } = target.jump;
  const jump = { ...target, host, port, user: user ?? target.user, jump: null };
  return await openSession({ ...options, target: jump }, onNote);
}

/** One logged-in connection. */
export class SshSession implements AsyncDisposable {
  readonly target: SshTarget;
  readonly connectSeconds: Seconds;
  readonly handshakes: number;
  readonly #ssh: NodeSSH;
  readonly #client: Client;
  /** What carries the connection. */
  readonly #sock: Duplex;
  readonly #policy: ConnectPolicy;
  /** The host in between. */
  readonly #via: SshSession | null;
  readonly #listeners = new Set<(reason: string) => void>();
  #execs = 0;
  #lastError: Error | null = null;
  #state: 'open' | 'closing' | 'lost' = 'open';
  #closing: Promise<void> | null = null;

  constructor(
    target: SshTarget,
    { ssh, client, sock }: Attempt & { readonly kind: 'connected' },
    facts: {
      readonly connectSeconds: Seconds;
      readonly policy: ConnectPolicy;
      readonly via: SshSession | null;
    },
  ) {
    this.target = target;
    this.#ssh = ssh;
    this.#client = client;
    this.#sock = sock;
    this.#policy = facts.policy;
    this.#via = facts.via;
    this.handshakes = 1 + (facts.via?.handshakes ?? 0);
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

  /** Calls back once when the connection is lost without having been closed by us. */
  onLost(listener: (reason: string) => void): void {
    this.#listeners.add(listener);
  }

  /**
   * Opens a channel on which the server's login shell runs the command line.
   *
   * @param point what the command is for, in words for people
   * @param input what it reads first
   */
  async exec(
    command: string,
    point: string,
    input: Uint8Array = new Uint8Array(),
  ): Promise<ClientChannel> {
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
        if (error === undefined || error === null) {
          channel.write(input);
          settle(() => resolve(channel));
        } else settle(() => reject(this.#noChannel(point, error.message)));
      });
    });
  }

  /** The error for a step that was running when the connection was lost. */
  lostError(point: string, reason: string): HostError {
    return new HostError(
      `lost the connection to ${address(this.target)}: ${reason}. Step: ${point}.`,
      {
        step: point,
        evidence: [],
        next: 'check the server and the network, then run again: each run starts from the state that it finds on the host',
      },
    );
  }

  /**
   * Says goodbye, and resolves when that has left this machine: whatever the server still sends is of no
   * use, and its side ends by itself. A network that takes nothing is not waited for.
   */
  close(): Promise<void> {
    this.#closing ??= this.#leave();
    return this.#closing;
  }

  async #leave(): Promise<void> {
    if (this.#state === 'open') {
      this.#state = 'closing';
      await this.#sayGoodbye();
      this.#sock.destroy();
    }
    await this.#via?.close();
  }

  async #sayGoodbye(): Promise<void> {
    const late = Promise.withResolvers<void>();
    const timer = setTimeout(late.resolve, this.#policy.closeTimeout * 1000);
    const sent = finished(this.#sock, { readable: false }).catch(() => {});
    this.#ssh.dispose();
    this.#client.end();
    await Promise.race([sent, late.promise]);
    clearTimeout(timer);
  }

  /** A connection from this host to another one: its login is between that one and the runner. */
  reach(target: SshTarget): Promise<Duplex | Attempt> {
    const here = address(this.target);
    return new Promise((resolve) => {
      this.#client.forwardOut('127.0.0.1', 0, target.host, target.port, (error, channel) => {
        if (error === undefined || error === null) return resolve(channel);
        const isForbidden = /administratively prohibited|open failed/i.test(error.message);
        if (isForbidden)
          resolve({ kind: 'refused', error: forwardingRefused(this.target, target) });
        else resolve({ kind: 'failed', cause: `${here} cannot connect to it`, error });
      });
    });
  }

  /** Drops the connection at once: the other side sees end-of-file. */
  destroy(): void {
    if (this.#state === 'open') this.#state = 'closing';
    // That of the client leaves alone what it has ended already.
    this.#sock.destroy();
    this.#via?.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #noChannel(point: string, reason: string): HostError {
    const { user } = this.target;
    return new HostError(`${address(this.target)} did not run a command: ${reason}`, {
      step: point,
      evidence: [],
      next: `let ${user} run commands: look for an SFTP-only login or \`MaxSessions 0\` in sshd_config, and for a restricted key in authorized_keys`,
    });
  }

  #assertOpen(point: string): void {
    if (this.#state === 'open') return;
    throw this.lostError(point, this.#state === 'lost' ? this.#reason() : 'it was closed');
  }

  #lose(): void {
    if (this.#state !== 'open') return;
    this.#state = 'lost';
    const reason = this.#reason();
    for (const listener of [...this.#listeners]) listener(reason);
    this.#listeners.clear();
    // Nobody may close what is lost, and the host in between would keep this process alive.
    void this.close();
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
