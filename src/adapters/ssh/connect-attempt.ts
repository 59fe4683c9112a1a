import { NodeSSH } from 'node-ssh';
import type { AnyAuthMethod, Client } from 'ssh2';
import type { HostError } from '../../model/errors.ts';
import {
  brokenLogin,
  describeCause,
  type LoginReplies,
  noPinnedKeyOffered,
  property,
  refusedLogin,
  unreachable,
  wrongHostKey,
} from './connect-errors.ts';
import type { HostKeyVerdict, HostPins } from './known-hosts.ts';
import type { LoginKey } from './login-key.ts';
import type { ConnectPolicy, SshTarget } from './ssh-target.ts';

const BANNER_KEPT_CHARACTERS = 4096;

/** How one attempt to connect ended. */
export type Attempt =
  | { readonly kind: 'connected'; readonly ssh: NodeSSH; readonly client: Client }
  /** No login was sent, so another attempt does no harm. */
  | { readonly kind: 'failed'; readonly cause: string; readonly error: Error }
  | { readonly kind: 'refused'; readonly error: HostError };

/** What an attempt has seen so far; its failure is explained by it. */
interface Sightings extends LoginReplies {
  verdict: HostKeyVerdict | null;
  /** The server's host key algorithms. */
  offered: string | null;
  loginSent: boolean;
  connected: boolean;
  firstError: Error | null;
}

/** Connects once: host key, then login. Never throws. */
export async function attemptConnection(
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
