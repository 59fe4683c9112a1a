import { ConfigError } from '../../model/errors.ts';
import { HOST_KEY_ALGORITHMS, keyType } from './host-key.ts';

/** Marks of a line: https://man.openbsd.org/sshd.8#SSH_KNOWN_HOSTS_FILE_FORMAT */
type Marker = 'none' | 'revoked' | 'cert-authority';

/** One line of known_hosts. */
export interface KnownHost {
  readonly line: number;
  readonly marker: Marker;
  readonly names: string;
  readonly type: string;
  readonly key: Buffer;
}

const INPUT = 'known-hosts';
const LINE_SHAPE = 'a line `HOST KEYTYPE BASE64-KEY`, as `ssh-keyscan` prints it';

/** @throws ConfigError (`known-hosts:LINE`) when a line is malformed */
export function parseKnownHosts(text: string): readonly KnownHost[] {
  const entries: KnownHost[] = [];
  const lines = text.replace(/^\uFEFF/, '').split(/\r\n|\n|\r/);
  for (const [index, raw] of lines.entries()) {
    const content = raw.trim();
    if (content !== '' && !content.startsWith('#')) entries.push(parseLine(content, index + 1));
  }
  return entries;
}

function parseLine(content: string, line: number): KnownHost {
  // The line itself is never quoted: it may be a secret that went into the wrong field.
  const fail = (problem: string, expected = LINE_SHAPE): never => {
    throw new ConfigError(
      `${INPUT}:${line}`,
      `line ${line} of \`known-hosts\`: ${problem}`,
      expected,
    );
  };
  const fields = content.split(/[ \t]+/);
  const marker = readMarker(fields[0] ?? '');
  if (marker === null) return fail('the marker is unknown', '`@revoked` or `@cert-authority`');
  if (marker !== 'none') fields.shift();

  const [names = '', type = '', encoded = ''] = fields;
  if (names.startsWith('-----BEGIN') || names === '----') {
    return fail('this is a key file, not a line of known hosts');
  }
  if (names.startsWith('SHA256:') || names.startsWith('MD5:')) {
    return fail('this is a fingerprint; the whole key is needed');
  }
  if (HOST_KEY_ALGORITHMS.has(names) && type.startsWith('AAAA')) {
    return fail('the host name in front of the key is missing');
  }
  if (type === '' || encoded === '') return fail('the line is incomplete');
  if (/^\d+$/.test(type) && /^\d+$/.test(encoded)) {
    return fail('this is a key of SSH protocol 1, which is obsolete');
  }
  checkNames(names, fail);
  return { line, marker, names, type, key: decodeKey(encoded, type, fail) };
}

function readMarker(field: string): Marker | null {
  if (!field.startsWith('@')) return 'none';
  if (field === '@revoked') return 'revoked';
  if (field === '@cert-authority') return 'cert-authority';
  return null;
}

type Fail = (problem: string, expected?: string) => never;

function checkNames(names: string, fail: Fail): void {
  if (!names.startsWith('|')) {
    if (names.split(',').some((name) => name === '' || name === '!')) {
      fail('a host name in the list is empty');
    }
    return;
  }
  const [, version, salt = '', hash = '', ...rest] = names.split('|');
  const sizes = [salt, hash].map((part) => decodeBase64(part)?.length);
  if (version !== '1' || rest.length > 0 || sizes.some((size) => size !== 20)) {
    fail('the hashed host name is malformed', '`|1|SALT|HASH`, as `ssh-keygen -H` writes it');
  }
}

function decodeKey(encoded: string, type: string, fail: Fail): Buffer {
  const key = decodeBase64(encoded);
  if (key === null) return fail('the key is not base64, or is cut off');
  const inner = keyType(key);
  if (inner === null) return fail('the key is cut off');
  if (inner !== type) return fail('the type of the key does not match the type on the line');
  if (!fieldsFillKey(key)) return fail('the key is cut off');
  return key;
}

/** Every key type is a row of length-prefixed strings that ends with the last of them. */
function fieldsFillKey(key: Buffer): boolean {
  let position = 0;
  let fields = 0;
  while (position + 4 <= key.length) {
    position += 4 + key.readUInt32BE(position);
    fields += 1;
  }
  return position === key.length && fields >= 2;
}

function decodeBase64(text: string): Buffer | null {
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(text)) return null;
  const bytes = Buffer.from(text, 'base64');
  // Padding may be missing, as OpenSSH tolerates; anything else must round-trip.
  const bare = (value: string) => value.replace(/=+$/, '');
  return bare(bytes.toString('base64')) === bare(text) ? bytes : null;
}
