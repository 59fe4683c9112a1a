import { Client } from 'ssh2';
import { HostError } from '../../model/errors.ts';
import type { Seconds } from '../../model/units.ts';
import { ALGORITHMS, findMismatch, readOffer } from './algorithms.ts';
import { describeCause } from './connect-errors.ts';
import { HOST_KEY_ALGORITHMS, type KeyPrint, keyType, printKey } from './host-key.ts';
import { hostEntryName } from './known-hosts.ts';
import { address } from './ssh-target.ts';

/** The host key that a server presents. */
export interface PresentedKey extends KeyPrint {
  /** For known_hosts. */
  readonly line: string;
  readonly key: Buffer;
}

/** The types that are accepted, the one that logins use first. */
export const hostKeyTypes: readonly string[] = [...HOST_KEY_ALGORITHMS.keys()];

/**
 * Asks a server for its host key, before any login; nothing is trusted by that.
 *
 * @param types the types that are asked for, preferred one first
 * @returns `null`: the server has no key of these types
 * @throws HostError when it cannot be reached
 */
export async function readHostKey(
  target: { readonly host: string; readonly port: number },
  types: readonly string[],
  timeout: Seconds,
): Promise<PresentedKey | null> {
  const offers = new Map<string, string>();
  let shown: Buffer | null = null;
  const client = new Client();
  const failed = await new Promise<Error | null>((resolve) => {
    client.on('error', resolve);
    client.on('close', () => resolve(null));
    client.connect({
      host: target.host,
      port: target.port,
      username: 'root',
      readyTimeout: timeout * 1000,
      algorithms: {
        ...ALGORITHMS,
        serverHostKey: types.flatMap((type) => HOST_KEY_ALGORITHMS.get(type) ?? []),
      } as unknown as NonNullable<Parameters<Client['connect']>[0]['algorithms']>,
      // It is only looked at: the connection ends here.
      hostVerifier: (key: Buffer) => {
        shown = Buffer.from(key);
        return false;
      },
      debug: (line: string) => {
        const offer = readOffer(line);
        if (offer !== null) offers.set(...offer);
      },
    });
  });
  client.destroy();
  const key = shown as Buffer | null;
  if (key !== null) {
    const name = hostEntryName(target.host, target.port);
    return { ...printKey(key), key, line: `${name} ${keyType(key)} ${key.toString('base64')}` };
  }
  if (failed !== null && /no matching host key format/i.test(failed.message)) return null;
  throw unreadable(target, failed, offers, timeout);
}

function unreadable(
  target: { readonly host: string; readonly port: number },
  failed: Error | null,
  offers: ReadonlyMap<string, string>,
  timeout: Seconds,
): HostError {
  const where = address(target);
  const mismatch = failed && findMismatch(failed.message, offers);
  const cause =
    mismatch !== null
      ? `no ${mismatch.what} in common: it offers ${mismatch.offered}`
      : failed === null
        ? 'the server closed the connection'
        : describeCause(failed, timeout);
  return new HostError(`cannot read the host key of ${where}: ${cause}`, {
    step: 'read the host key',
    evidence: [],
    next: 'check the name, the port and the firewall',
  });
}
