import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import { ConfigError } from '../../model/errors.ts';

/** Marks of a line: https://man.openbsd.org/sshd.8#SSH_KNOWN_HOSTS_FILE_FORMAT */
type Marker = 'none' | 'revoked' | 'cert-authority';

interface KnownHost {
  readonly line: number;
  readonly marker: Marker;
  readonly names: string;
  readonly type: string;
  readonly key: Buffer;
}

/** A host key as people compare it. */
export interface KeyPrint {
  /** `ssh-ed25519`, `ssh-rsa`… */
  readonly type: string;
  /** As `ssh-keygen -l` prints it: `SHA256:…`. */
  readonly fingerprint: string;
}

export type HostKeyVerdict =
  | { readonly kind: 'accepted'; readonly got: KeyPrint; readonly line: number }
  /** No plain line of known-hosts names this host. */
  | { readonly kind: 'unknown'; readonly got: KeyPrint }
  | { readonly kind: 'mismatch'; readonly got: KeyPrint; readonly expected: readonly KeyPrint[] }
  | { readonly kind: 'revoked'; readonly got: KeyPrint; readonly line: number };

/** What known-hosts says of one host. */
export interface HostPins {
  /** Host key algorithms to offer, by their SSH names, strongest first. */
  readonly algorithms: readonly string[];
  readonly expected: readonly KeyPrint[];
  /** Judges the public key (SSH wire format) that the server shows. */
  verify(key: Buffer): HostKeyVerdict;
}

const INPUT = 'known-hosts';
const WHERE = `input ${INPUT}`;

/** ssh-dss is left out: OpenSSH dropped it, and nothing signs it safely. */
const ALGORITHMS: ReadonlyMap<string, readonly string[]> = new Map([
  ['ssh-ed25519', ['ssh-ed25519']],
  ['ecdsa-sha2-nistp256', ['ecdsa-sha2-nistp256']],
  ['ecdsa-sha2-nistp384', ['ecdsa-sha2-nistp384']],
  ['ecdsa-sha2-nistp521', ['ecdsa-sha2-nistp521']],
  ['ssh-rsa', ['rsa-sha2-512', 'rsa-sha2-256']],
]);

const LINE_SHAPE = 'a line `HOST KEYTYPE BASE64-KEY`, as `ssh-keyscan` prints it';

/** `SHA256:…`, as `ssh-keygen -l` prints it. */
export function fingerprint(key: Uint8Array): string {
  return `SHA256:${createHash('sha256').update(key).digest('base64').replace(/=+$/, '')}`;
}

/** The type a public key in SSH wire format names itself: its first string. */
export function keyType(key: Buffer): string | null {
  if (key.length < 4) return null;
  const length = key.readUInt32BE(0);
  if (length === 0 || length > 64 || key.length < 4 + length) return null;
  return key.toString('latin1', 4, 4 + length);
}

export function printKey(key: Buffer): KeyPrint {
  return { type: keyType(key) ?? 'unknown type', fingerprint: fingerprint(key) };
}

export function describeKey(print: KeyPrint): string {
  return `${print.fingerprint} (${print.type})`;
}

/** The name under which known_hosts files a host: `[host]:port`, plain on port 22. */
export function hostEntryName(host: string, port: number): string {
  const name = host.toLowerCase();
  return port === 22 ? name : `[${name}]:${port}`;
}

/**
 * Reads known-hosts for one host.
 *
 * @throws ConfigError when a line is malformed (`known-hosts:LINE`), the text is empty, or nothing
 * in it can pin this host.
 */
export function pinnedKeys(text: string, host: string, port: number): HostPins {
  const entries = parseKnownHosts(text);
  const howTo = howToPin(host, port);
  if (entries.length === 0) {
    throw new ConfigError(
      WHERE,
      '`known-hosts` holds no host key, so the server cannot be recognised',
      howTo,
    );
  }

  const name = hostEntryName(host, port);
  const matching = entries.filter((entry) => matchesHost(entry.names, name));
  const revoked = matching.filter((entry) => entry.marker === 'revoked');
  const isRevoked = (key: Buffer) => revoked.find((entry) => entry.key.equals(key));
  const plain = matching.filter((entry) => entry.marker === 'none');
  const trusted = plain.filter((entry) => isRevoked(entry.key) === undefined);
  const pinnedTypes = new Set(trusted.map((entry) => entry.type));
  const algorithms = [...ALGORITHMS].flatMap(([type, names]) =>
    pinnedTypes.has(type) ? names : [],
  );
  if (algorithms.length === 0) {
    throw new ConfigError(WHERE, explainNoPin(entries, matching, trusted, host, port), howTo);
  }

  const expected = trusted.map((entry) => printKey(entry.key));
  return {
    algorithms,
    expected,
    verify(key) {
      const got = printKey(key);
      const bad = isRevoked(key);
      if (bad !== undefined) return { kind: 'revoked', got, line: bad.line };
      const good = trusted.find((entry) => entry.key.equals(key));
      if (good !== undefined) return { kind: 'accepted', got, line: good.line };
      return trusted.length === 0 ? { kind: 'unknown', got } : { kind: 'mismatch', got, expected };
    },
  };
}

/**
 * A person's own known_hosts for one host: the lines of other hosts, of which some may be beyond us,
 * are blank. Lines keep their numbers.
 *
 * @throws ConfigError when no line names the host
 */
export function linesForHost(text: string, host: string, port: number): string {
  const name = hostEntryName(host, port);
  const lower = host.toLowerCase();
  const lines = text.split(/\r\n|\n|\r/).map((line) => {
    const [first = '', second = ''] = line
      .replace(/^\uFEFF/, '')
      .trim()
      .split(/[ \t]+/);
    const names = first.startsWith('@') ? second : first;
    // With another port it is no pin, but worth naming.
    const isMeant =
      matchesHost(names, name) ||
      matchesHost(names, lower) ||
      names.toLowerCase().includes(`[${lower}]:`);
    return isMeant && !names.startsWith('#') ? line : '';
  });
  if (lines.every((line) => line === '')) {
    throw new ConfigError(WHERE, `no key for ${name} is pinned`, howToPin(host, port));
  }
  return lines.join('\n');
}

function howToPin(host: string, port: number): string {
  const scan = port === 22 ? `ssh-keyscan ${host}` : `ssh-keyscan -p ${port} ${host}`;
  return `the lines that \`${scan}\` prints, after comparing them with what \`ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub\` prints on the server itself`;
}

function explainNoPin(
  entries: readonly KnownHost[],
  matching: readonly KnownHost[],
  trusted: readonly KnownHost[],
  host: string,
  port: number,
): string {
  const name = hostEntryName(host, port);
  if (trusted.length > 0) {
    const types = [...new Set(trusted.map((entry) => entry.type))].join(', ');
    return `the only keys of \`known-hosts\` for ${name} are of a type that cannot be used here: ${types}`;
  }
  if (matching.some((entry) => entry.marker === 'none')) {
    return `every key of \`known-hosts\` for ${name} is marked @revoked`;
  }
  if (matching.some((entry) => entry.marker === 'cert-authority')) {
    return `only a @cert-authority line of \`known-hosts\` matches ${name}, and host certificates are not supported`;
  }
  if (matching.length > 0) return `only @revoked lines of \`known-hosts\` match ${name}`;
  const lower = host.toLowerCase();
  const elsewhere = entries.find(
    (entry) => matchesHost(entry.names, lower) || entry.names.toLowerCase().includes(`[${lower}]:`),
  );
  const hint =
    elsewhere === undefined ? '' : ` (line ${elsewhere.line} names the host with another port)`;
  return `\`known-hosts\` holds no key for ${name}${hint}`;
}

function parseKnownHosts(text: string): readonly KnownHost[] {
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
  if (ALGORITHMS.has(names) && type.startsWith('AAAA')) {
    return fail('the host name in front of the key is missing');
  }
  if (type === '' || encoded === '') return fail('the line is incomplete');
  if (/^\d+$/.test(type) && /^\d+$/.test(encoded)) {
    return fail('this is a key of SSH protocol 1, which no server speaks any more');
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
  if (inner !== type) return fail('the key is of another type than the line says');
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

/** Whether the names of a line cover this entry name; a `!` pattern that matches beats the rest. */
function matchesHost(names: string, name: string): boolean {
  if (names.startsWith('|')) return matchesHash(names, name);
  let matched = false;
  for (const pattern of names.toLowerCase().split(',')) {
    const negated = pattern.startsWith('!');
    if (!matchesPattern(negated ? pattern.slice(1) : pattern, name)) continue;
    if (negated) return false;
    matched = true;
  }
  return matched;
}

function matchesHash(names: string, name: string): boolean {
  const [, , salt = '', hash = ''] = names.split('|');
  const expected = Buffer.from(hash, 'base64');
  const actual = createHmac('sha1', Buffer.from(salt, 'base64')).update(name).digest();
  return expected.length === actual.length && timingSafeEqual(expected, actual);
}

/** `*` and `?` as in OpenSSH's match_pattern, in linear space and without a regular expression. */
export function matchesPattern(pattern: string, name: string): boolean {
  let p = 0;
  let n = 0;
  let star = -1;
  let resume = 0;
  while (n < name.length) {
    if (pattern[p] === '*') {
      star = p;
      resume = n;
      p += 1;
    } else if (p < pattern.length && (pattern[p] === '?' || pattern[p] === name[n])) {
      p += 1;
      n += 1;
    } else if (star >= 0) {
      p = star + 1;
      resume += 1;
      n = resume;
    } else {
      return false;
    }
  }
  while (pattern[p] === '*') p += 1;
  return p === pattern.length;
}
