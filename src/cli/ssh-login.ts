import { existsSync, readFileSync } from 'node:fs';
import { homedir, userInfo } from 'node:os';
import { join } from 'node:path';
import { linesForHost } from '../adapters/ssh/known-hosts.ts';
import { readForLogin, type SshConfigSource, type SshHost } from '../adapters/ssh/ssh-config.ts';
import type { Directive } from '../adapters/ssh/ssh-config-lines.ts';
import { hostInputs } from '../config/host-inputs.ts';
import type { Input, Jump } from '../config/input.ts';
import { ConfigError } from '../model/errors.ts';
import type { GivenFlags } from './flags.ts';
import { listFiles } from './list-files.ts';
import { chooseKey, type KeyChoice, type NamedFile } from './ssh-key.ts';
import { expandTokens } from './ssh-tokens.ts';

/** How a person logs in to a host: by flags, then by `~/.ssh/config`. Empty text: neither says. */
export interface SshLogin extends KeyChoice {
  readonly host: string;
  readonly port: string;
  readonly user: string;
  readonly proxyJump: string;
  /**
   * The lines of the person's own known_hosts for these hosts.
   *
   * @throws ConfigError when no file can be read, or none of them pins the hosts
   */
  readonly knownHosts: () => string;
  readonly agentSocket: string;
}

/** Without these, the connection would be another one than that of ssh: they are refused. */
const refused: Readonly<Record<string, string>> = {
  proxycommand: '`ProxyJump`, or `--proxy-jump`',
  hostkeyalias: '`--known-hosts-file` with a line for the name of the host itself',
  revokedhostkeys: 'lines with `@revoked` in known_hosts',
  canonicalizehostname: 'the full name of the host as `--host` or `HostName`',
};
/** Without these it is the same connection, or none. */
const skipped: ReadonlySet<string> = new Set([
  'addressfamily',
  'bindaddress',
  'bindinterface',
  'certificatefile',
  'knownhostscommand',
  'pkcs11provider',
  'securitykeyprovider',
]);
/** Changes to a host need root. */
const usualUser = 'root';
const read: readonly string[] = [
  'hostname',
  'user',
  'port',
  'identityfile',
  'identityagent',
  'userknownhostsfile',
];

/**
 * @throws ConfigError for a setting that cannot be followed, or a file that cannot be read
 */
export function readSshLogin(flags: GivenFlags): SshLogin {
  const alias = flags.get('host') ?? '';
  const source = sourceOf(flags);
  const found = readForLogin(source, alias, { user: flags.get('user'), usual: usualUser });
  refuse(found, alias, flags);
  const value = (keyword: string): string => found.values.get(keyword)?.words[0] ?? '';
  const tokens: Record<string, string> = { h: alias, n: alias, d: homedir(), u: source.localUser };
  const { expand, toFile } = expandersOf(tokens);
  const host = expand(value('hostname') || alias, placeOf(found, 'hostname'));
  tokens.h = host;
  tokens.p = flags.get('port') ?? (value('port') || '22');
  tokens.r = flags.get('user') ?? (value('user') || usualUser);
  const via = jumpOf(flags, found, source, expand);
  const agentSocket = agentOf(found, toFile);
  const files = identityFilesOf(found, toFile);
  const key = chooseKey(flags, { agentSocket, identityFiles: files });
  const login = {
    host: checked(hostInputs.host, 'host', host, found, 'hostname'),
    port: flags.get('port') ?? checked(hostInputs.port, 'port', value('port'), found, 'port'),
    user: flags.get('user') ?? checked(hostInputs.user, 'user', value('user'), found, 'user'),
    proxyJump: via === null ? '' : jumpText(via.jump),
    agentSocket,
  };
  const own = { host: login.host, port: Number(tokens.p) };
  // Each host is pinned by its own files.
  const pinned = [{ ...own, files: knownHostsFilesOf(flags, found, toFile) }];
  if (via !== null)
    pinned.push({ ...via.jump, files: knownHostsFilesOf(flags, via.found, via.toFile) });
  const knownHosts = () => pinned.map(readPins).join('\n');
  return { ...login, ...key, knownHosts, notes: [...notesOf(found), ...key.notes] };
}

/** Whether `~/.ssh/config` says where the host is. */
export function knowsHost(flags: GivenFlags): boolean {
  const { values } = readForLogin(sourceOf(flags), flags.get('host') ?? '', {
    user: flags.get('user'),
    usual: usualUser,
  });
  return values.has('hostname');
}

function sourceOf(flags: GivenFlags): SshConfigSource {
  const given = flags.get('ssh-config-file');
  const standard = join(homedir(), '.ssh', 'config');
  if (given !== undefined && given !== 'none' && !existsSync(given)) {
    const expected = 'the path of an existing file, or `none`';
    throw new ConfigError('--ssh-config-file', `cannot read ${given}`, expected);
  }
  return {
    file: given ?? standard,
    home: homedir(),
    localUser: localUser(),
    read: (file) => (file === 'none' ? null : readIfThere(file)),
    list: listFiles,
  };
}

function localUser(): string {
  try {
    return userInfo().username;
  } catch {
    // In a container, a user may have no name.
    return '';
  }
}

function readIfThere(file: string): string | null {
  if (!existsSync(file)) return null;
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    throw new ConfigError(file, `cannot read ${file}`, 'a file that you may read', { cause });
  }
}

const placeOf = (found: SshHost, keyword: string): string =>
  found.values.get(keyword)?.where ?? '--host';

/** What a flag sets does not depend on the configuration. */
const flagFor: Readonly<Record<string, string>> = {
  user: 'user',
  port: 'port',
  identityfile: 'ssh-key-file',
  identityagent: 'ssh-key-file',
  userknownhostsfile: 'known-hosts-file',
  proxycommand: 'proxy-jump',
  hostkeyalias: 'known-hosts-file',
};

function refuse(found: SshHost, alias: string, flags: GivenFlags): void {
  const isOpen = (keyword: string): boolean => !flags.has(flagFor[keyword] ?? 'host-is-never-set');
  for (const [keyword, expected] of Object.entries(refused)) {
    const directive = found.values.get(keyword);
    const isOff = ['none', 'no'].includes(directive?.words[0]?.toLowerCase() ?? 'none');
    const isJump = directive?.keyword === 'proxyjump';
    if (directive === undefined || isOff || isJump || !isOpen(keyword)) continue;
    const problem = `\`${nameOf(keyword)}\` of ${alias} is not supported`;
    throw new ConfigError(directive.where, problem, `${expected}; ${elsewise}`);
  }
  for (const [keyword, match] of found.undecided) {
    if (!isOpen(keyword) || !(read.includes(keyword) || keyword in refused)) continue;
    const [where = '', criteria = ''] = match.split(/: (?=Match )/);
    const problem = `\`${criteria}\` is not evaluated, and may set \`${nameOf(keyword)}\` of ${alias}`;
    const flag = flagFor[keyword];
    const before = `\`${nameOf(keyword)}\` for this host above it`;
    const expected = flag === undefined ? before : `\`--${flag}\`, or ${before}`;
    throw new ConfigError(where, problem, `${expected}; ${elsewise}`);
  }
}

const elsewise = 'or `--ssh-config-file none` and flags';

const names: Readonly<Record<string, string>> = {
  hostname: 'HostName',
  user: 'User',
  port: 'Port',
  identityfile: 'IdentityFile',
  identityagent: 'IdentityAgent',
  userknownhostsfile: 'UserKnownHostsFile',
  proxycommand: 'ProxyCommand',
  hostkeyalias: 'HostKeyAlias',
  revokedhostkeys: 'RevokedHostKeys',
  canonicalizehostname: 'CanonicalizeHostname',
  certificatefile: 'CertificateFile',
};
const nameOf = (keyword: string): string => names[keyword] ?? keyword;

function notesOf({ values }: SshHost): readonly string[] {
  const notes = [...values.values()]
    .filter(({ keyword, words }) => skipped.has(keyword) && words[0] !== 'none')
    .map(({ keyword, where }) => `${where}: ${nameOf(keyword)} is not supported, and skipped`);
  const strict = values.get('stricthostkeychecking');
  const isLax = ['no', 'off', 'accept-new'].includes(strict?.words[0]?.toLowerCase() ?? '');
  if (strict === undefined || !isLax) return notes;
  return [
    ...notes,
    `${strict.where}: StrictHostKeyChecking is skipped: the host key is always checked`,
  ];
}

/** The text of an input, from the configuration; an error names its line. */
function checked(
  input: Input<unknown>,
  name: string,
  text: string,
  found: SshHost,
  keyword: string,
): string {
  const directive = found.values.get(keyword);
  if (directive === undefined || text === '' || input.schema.safeParse(text).success) return text;
  throw new ConfigError(directive.where, `invalid \`${name}\`: "${text}"`, input.expected);
}

function identityFilesOf({ identityFiles }: SshHost, toFile: ToFile): readonly NamedFile[] | null {
  if (identityFiles.length === 0) return null;
  return identityFiles
    .filter(({ words }) => words[0]?.toLowerCase() !== 'none')
    .map(({ words, where }) => toFile(words[0] ?? '', where));
}

function agentOf({ values }: SshHost, toFile: ToFile): string {
  const usual = process.env.SSH_AUTH_SOCK ?? '';
  const { words: [text = ''] = [], where = '' }: Partial<Directive> =
    values.get('identityagent') ?? {};
  if (text === '' || text === 'SSH_AUTH_SOCK') return usual;
  if (text.toLowerCase() === 'none') return '';
  const variable = /^\$([A-Za-z_]\w*)$/.exec(text)?.[1];
  return variable === undefined ? toFile(text, where).path : (process.env[variable] ?? '');
}

/** A path that begins with `~/`. */
const atHome = (path: string): string =>
  path.startsWith('~/') ? join(homedir(), path.slice(2)) : path;

type ToFile = (text: string, where: string) => NamedFile;

/** What expands the values of one host. */
function expandersOf(tokens: Readonly<Record<string, string>>) {
  const expand = (text: string, where: string): string => expandTokens(text, where, tokens);
  const toFile: ToFile = (text, where) => ({ path: atHome(expand(text, where)), where });
  return { expand, toFile };
}

interface Via {
  readonly jump: Jump;
  readonly found: SshHost;
  readonly toFile: ToFile;
}

function jumpOf(
  flags: GivenFlags,
  found: SshHost,
  source: SshConfigSource,
  expand: (text: string, where: string) => string,
): Via | null {
  const directive = found.values.get('proxycommand');
  const byFlag = flags.get('proxy-jump');
  const where = byFlag === undefined ? (directive?.where ?? '') : '--proxy-jump';
  const text = byFlag ?? expand(directive?.words[0] ?? '', where);
  if (text === '' || text.toLowerCase() === 'none') return null;
  if (text.includes(',')) {
    throw new ConfigError(where, `\`${text}\` are several hosts`, 'one host to pass through');
  }
  const { schema, expected } = hostInputs['proxy-jump'];
  const { jump = null } = schema.safeParse(text.replace(/^ssh:\/\//, '')).data ?? {};
  if (jump === null) throw new ConfigError(where, `invalid \`proxy-jump\`: "${text}"`, expected);
  // As ssh does: its own user, not that of the target.
  const usual = byFlag === undefined ? source.localUser : null;
  const targetUser = expand('%r', where);
  const own = readForLogin(source, jump.host, {
    user: jump.user ?? undefined,
    usual: usual ?? targetUser,
  });
  refuse(own, jump.host, new Map());
  const further = own.values.get('proxycommand');
  if (further !== undefined && further.words[0]?.toLowerCase() !== 'none') {
    const problem = `${jump.host} is itself reached through another host`;
    throw new ConfigError(further.where, problem, 'one host to pass through');
  }
  const value = (keyword: string): string => own.values.get(keyword)?.words[0] ?? '';
  const hasPort = /:\d+$/.test(text);
  const user = jump.user ?? (value('user') || usual);
  const hostName = value('hostname') || jump.host;
  const where2 = placeOf(own, 'hostname');
  const tokens = { h: jump.host, n: jump.host };
  const host = expandTokens(hostName, where2, tokens);
  const port = hasPort ? jump.port : Number(value('port') || 22);
  const { toFile } = expandersOf({
    ...tokens,
    h: host,
    d: homedir(),
    u: source.localUser,
    p: String(port),
    r: user ?? targetUser,
  });
  return { jump: { host, port, user }, found: own, toFile };
}

function jumpText({ host, port, user }: Jump): string {
  const name = host.includes(':') ? `[${host}]` : host;
  return `${user === null || user === '' ? '' : `${user}@`}${name}:${port}`;
}

function knownHostsFilesOf(
  flags: GivenFlags,
  { values }: SshHost,
  toFile: ToFile,
): readonly string[] {
  const flag = flags.get('known-hosts-file');
  if (flag !== undefined) return [flag];
  const directive = values.get('userknownhostsfile');
  if (directive === undefined) return [join(homedir(), '.ssh', 'known_hosts')];
  return directive.words
    .filter((word) => word.toLowerCase() !== 'none')
    .map((word) => toFile(word, directive.where).path);
}

interface Pinned {
  readonly host: string;
  readonly port: number;
  readonly files: readonly string[];
}

function readPins({ host, port, files }: Pinned): string {
  const present = files.filter((file) => existsSync(file));
  const [first = 'a file with the keys of your hosts'] = files;
  if (present.length === 0) {
    const expected = 'the path of an existing file';
    throw new ConfigError('--known-hosts-file', `cannot read ${first}`, expected);
  }
  const text = present.map((file) => readIfThere(file) ?? '').join('\n');
  return linesForHost(text, host, port);
}
