import { ConfigError } from '../../model/errors.ts';
import { HOST_KEY_ALGORITHMS, type KeyPrint, printKey } from './host-key.ts';
import { matchesHost } from './host-patterns.ts';
import { type KnownHost, parseKnownHosts } from './known-hosts-lines.ts';

export type HostKeyVerdict =
  | { readonly kind: 'accepted'; readonly got: KeyPrint; readonly line: number }
  /** No plain line of known-hosts names this host. */
  | { readonly kind: 'unknown'; readonly got: KeyPrint }
  | { readonly kind: 'mismatch'; readonly got: KeyPrint; readonly expected: readonly KeyPrint[] }
  | { readonly kind: 'revoked'; readonly got: KeyPrint; readonly line: number };

/** What known-hosts says about one host. */
export interface HostPins {
  /** Host key algorithms to offer, by their SSH names, strongest first. */
  readonly algorithms: readonly string[];
  readonly expected: readonly KeyPrint[];
  /** Checks the public key (SSH wire format) that the server presents. */
  verify(key: Buffer): HostKeyVerdict;
}

const WHERE = 'input known-hosts';

/** The name of a host in known_hosts: `[host]:port`, plain on port 22. */
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
      '`known-hosts` has no host key, so the server cannot be identified',
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
  const algorithms = [...HOST_KEY_ALGORITHMS].flatMap(([type, names]) =>
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
 * A person's own known_hosts, for one host: the lines of other hosts, which may be unsupported, are
 * blanked, so that lines keep their numbers. The others name this host and no other, whatever their
 * patterns were: beside the lines of another host, none of them pins that one.
 *
 * @throws ConfigError when no line names the host
 */
export function linesForHost(text: string, host: string, port: number): string {
  const name = hostEntryName(host, port);
  const lower = host.toLowerCase();
  const lines = text.split(/\r\n|\n|\r/).map((line) => {
    const words = line
      .replace(/^\uFEFF/, '')
      .trim()
      .split(/[ \t]+/);
    const markers = words[0]?.startsWith('@') ? words.splice(0, 1) : [];
    const [names = '', ...rest] = words;
    if (names.startsWith('#')) return '';
    if (matchesHost(names, name)) return [...markers, name, ...rest].join(' ');
    // With another port it pins nothing, but the error names it.
    const isNear = matchesHost(names, lower) || names.toLowerCase().includes(`[${lower}]:`);
    return isNear ? [...markers, `[${lower}]:0`, ...rest].join(' ') : '';
  });
  if (lines.every((line) => line === '')) {
    throw new ConfigError(WHERE, `no key for ${name} is pinned`, howToPin(host, port));
  }
  return lines.join('\n');
}

function howToPin(host: string, port: number): string {
  const scan = port === 22 ? `ssh-keyscan ${host}` : `ssh-keyscan -p ${port} ${host}`;
  return `the lines that \`${scan}\` prints, after comparing them with the fingerprint that \`ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub\` prints on the server itself`;
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
    return `\`known-hosts\` has only keys of unsupported types for ${name}: ${types}`;
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
  return `\`known-hosts\` has no key for ${name}${hint}`;
}
