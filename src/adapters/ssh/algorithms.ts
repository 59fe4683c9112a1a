/**
 * The algorithms that are accepted, strongest first: no SHA-1, no CBC, no small groups. Host key types
 * are those that are pinned (`host-key.ts`); their signatures and those of logins use SHA-2.
 */
export const ALGORITHMS = {
  kex: [
    'curve25519-sha256',
    'curve25519-sha256@libssh.org',
    'ecdh-sha2-nistp256',
    'ecdh-sha2-nistp384',
    'ecdh-sha2-nistp521',
    'diffie-hellman-group16-sha512',
    'diffie-hellman-group18-sha512',
    'diffie-hellman-group-exchange-sha256',
    'diffie-hellman-group14-sha256',
  ],
  cipher: [
    'aes128-gcm@openssh.com',
    'aes256-gcm@openssh.com',
    'chacha20-poly1305@openssh.com',
    'aes128-ctr',
    'aes192-ctr',
    'aes256-ctr',
  ],
  hmac: [
    'hmac-sha2-256-etm@openssh.com',
    'hmac-sha2-512-etm@openssh.com',
    'hmac-sha2-256',
    'hmac-sha2-512',
  ],
  compress: ['none'],
} as const;

interface Mismatch {
  readonly what: string;
  readonly setting: string;
  readonly expected: readonly string[];
}

const kinds: readonly (readonly [pattern: RegExp, offer: string, Mismatch])[] = [
  [
    /no matching key exchange algorithm/,
    'KEX method',
    { what: 'key exchange', setting: 'KexAlgorithms', expected: ALGORITHMS.kex },
  ],
  [
    /no matching [CS]->[CS] cipher/,
    'C->S cipher',
    { what: 'cipher', setting: 'Ciphers', expected: ALGORITHMS.cipher },
  ],
  [
    /no matching [CS]->[CS] MAC/,
    'C->S MAC',
    { what: 'MAC', setting: 'MACs', expected: ALGORITHMS.hmac },
  ],
  [
    /no matching [CS]->[CS] compression/,
    'C->S compression',
    { what: 'compression', setting: 'Compression', expected: ALGORITHMS.compress },
  ],
];

/** What the server offers, by the names that ssh2's log gives to each list. */
export type Offers = ReadonlyMap<string, string>;

/** Reads a line of ssh2's log. */
export function readOffer(line: string): readonly [name: string, list: string] | null {
  const [, name = '', list = ''] = /^Handshake: \(remote\) ([^:]+): (.*)$/.exec(line) ?? [];
  return name === '' ? null : [name, list];
}

/** The kind of algorithm on which the two sides cannot agree, and what the server offers. */
export function findMismatch(
  message: string,
  offers: Offers,
): (Mismatch & { readonly offered: string }) | null {
  const found = kinds.find(([pattern]) => pattern.test(message));
  if (found === undefined) return null;
  const [, offer, mismatch] = found;
  return { ...mismatch, offered: (offers.get(offer) ?? 'none').replaceAll(',', ', ') };
}
