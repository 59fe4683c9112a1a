import { connect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { NodeSSH } from 'node-ssh';
import type { AnyAuthMethod, Client } from 'ssh2';
import type { HostError } from '../../model/errors.ts';
import { ALGORITHMS, findMismatch, readOffer } from './algorithms.ts';
import {
  brokenLogin,
  describeCause,
  type LoginReplies,
  noPinnedKeyOffered,
  noSharedAlgorithm,
  onlySha1,
  property,
  refusedLogin,
  unreachable,
  wrongHostKey,
} from './connect-errors.ts';
import { signAtOnce } from './eager-client.ts';
import type { HostKeyVerdict, HostPins } from './known-hosts.ts';
import { type Login, sha1Refusal } from './login.ts';
import type { ConnectPolicy, SshTarget } from './ssh-target.ts';

const BANNER_KEPT_CHARACTERS = 4096;

/** How one attempt to connect ended. */
export type Attempt =
  | {
      readonly kind: 'connected';
      readonly ssh: NodeSSH;
      readonly client: Client;
      readonly sock: Duplex;
    }
  /** The server took up no login, so another attempt does no harm. */
  | { readonly kind: 'failed'; readonly cause: string; readonly error: Error }
  | { readonly kind: 'refused'; readonly error: HostError };

/** What an attempt has seen so far; its failure is explained by it. */
interface Sightings extends LoginReplies {
  verdict: HostKeyVerdict | null;
  /** The server's algorithms. */
  readonly offers: Map<string, string>;
  loginSent: boolean;
  /** Logins are taken up. One may have been sent before this was known. */
  serviceAccepted: boolean;
  connected: boolean;
  firstError: Error | null;
}

/**
 * Connects once: host key, then login. Never throws.
 *
 * @param through a connection through another host
 */
export async function attemptConnection(
  target: SshTarget,
  login: Login,
  pins: HostPins,
  policy: ConnectPolicy,
  through: Duplex | null = null,
): Promise<Attempt> {
  const seen: Sightings = {
    verdict: null,
    offers: new Map(),
    loginSent: false,
    serviceAccepted: false,
    methodsLeft: [],
    partial: false,
    connected: false,
    banner: '',
    firstError: null,
  };
  const ssh = new NodeSSH();
  // Small messages, each waiting for its answer: Nagle's algorithm would hold every one back.
  const sock = through ?? connect({ host: target.host, port: target.port, noDelay: true });
  const connecting = ssh.connect({
    host: target.host,
    port: target.port,
    username: target.user,
    sock: sock as Socket,
    readyTimeout: policy.connectTimeout * 1000,
    keepaliveInterval: policy.keepaliveInterval * 1000,
    keepaliveCountMax: policy.keepaliveCount,
    algorithms: {
      ...ALGORITHMS,
      serverHostKey: [...pins.algorithms],
    } as unknown as Algorithms,
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
      next(login.method(target.user));
    },
    debug: (line: string) => {
      const offer = readOffer(line);
      if (offer !== null) seen.offers.set(...offer);
      if (line.startsWith('Inbound: Received SERVICE_ACCEPT')) seen.serviceAccepted = true;
    },
  });
  // Set by connect() before its first await.
  const client = ssh.connection;
  if (client !== null && login.signs !== 'asked') signAtOnce(client, login.signs);
  client?.on('connect', () => {
    seen.connected = true;
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
    return { kind: 'connected', ssh, client, sock };
  } catch (caught) {
    // That of the client leaves alone what it has ended already.
    sock.destroy();
    const error = seen.firstError ?? (caught instanceof Error ? caught : new Error(String(caught)));
    return judgeFailure(target, login, pins, seen, error, policy);
  }
}

type Algorithms = NonNullable<Parameters<NodeSSH['connect']>[0]['algorithms']>;

function judgeFailure(
  target: SshTarget,
  login: Login,
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
    return refused(noPinnedKeyOffered(target, pins, seen.offers.get('Host key format') ?? null));
  }
  const mismatch = findMismatch(error.message, seen.offers);
  if (mismatch !== null) return refused(noSharedAlgorithm(target, mismatch));
  if (error.message.includes(sha1Refusal)) return refused(onlySha1(target, login));
  if (property(error, 'level') === 'client-authentication') {
    return refused(refusedLogin(target, login, seen));
  }
  const cause = describeCause(error, policy.connectTimeout);
  if (seen.serviceAccepted) return refused(brokenLogin(target, login, seen, cause, error));
  if (isLasting(error, seen)) return refused(unreachable(target, 1, cause, error));
  return { kind: 'failed', cause, error };
}

/** Failures that a further attempt would meet again. */
function isLasting(error: Error, seen: Sightings): boolean {
  if (property(error, 'code') === 'ENOTFOUND') return true;
  if (/^Connection lost before handshake$/.test(error.message)) return false;
  const level = property(error, 'level');
  if (level === 'client-socket' || level === 'client-timeout') return false;
  // Closed during the handshake (node-ssh), or a disconnect message such as "too busy".
  if (property(error, 'code') !== undefined) return false;
  return seen.connected;
}
