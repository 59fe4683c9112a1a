import type { Client } from 'ssh2';

/*
 * ssh2 waits for an answer before each further message of a login. RFC 4252 lets a client go on at once, and each answer that it does not wait for saves a round trip. ssh2 has no option for that, so
 * this calls its own handlers for those answers early. Where it is built differently, nothing is changed
 * and it waits as usual.
 */

type Handler = (protocol: Protocol, ...rest: unknown[]) => void;

/** What ssh2 1.17 keeps inside a client. */
interface Protocol {
  service(name: string): void;
  authPK(user: string, key: unknown, algorithm?: string, sign?: unknown): void;
  readonly _handlers: Record<(typeof handlerNames)[number], Handler>;
}

interface Insides {
  readonly _protocol: Protocol;
}

const handlerNames = ['SERVICE_ACCEPT', 'USERAUTH_PK_OK'] as const;

function insidesOf(client: Client): Insides | null {
  const { _protocol: protocol } = client as unknown as Partial<Insides>;
  const handlers = protocol?._handlers;
  const isKnown =
    typeof protocol?.service === 'function' &&
    typeof protocol.authPK === 'function' &&
    handlers !== undefined &&
    handlerNames.every((name) => typeof handlers[name] === 'function');
  return isKnown ? (client as unknown as Insides) : null;
}

/**
 * Makes the client offer its key with the signature at once, instead of asking first whether the key
 * would do. Call it right after `connect`. All of it follows the check of the host key: ssh2 requests
 * the service of logins when the keys are exchanged and the host's is accepted.
 *
 * @param when `first`: the login is sent together with that request; `informed`: with its answer the
 * server has also named the signatures that it accepts
 */
export function signAtOnce(client: Client, when: 'first' | 'informed'): void {
  const insides = insidesOf(client);
  if (insides === null) return;
  const { _protocol: protocol } = insides;
  const { _handlers: handlers } = protocol;
  const { authPK, service } = protocol;
  protocol.authPK = (user, key, algorithm, sign) => {
    if (sign === undefined) handlers.USERAUTH_PK_OK(protocol);
    else authPK.call(protocol, user, key, algorithm, sign);
  };
  if (when === 'informed') return;
  protocol.service = (name) => {
    service.call(protocol, name);
    const accept = handlers.SERVICE_ACCEPT;
    handlers.SERVICE_ACCEPT = () => {};
    accept(protocol, name);
  };
}
