import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import ssh2 from 'ssh2';
import { afterAll, afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { runCommand } from '../../../src/cli/celeriac.ts';
import { parseFlags } from '../../../src/cli/flags.ts';
import { rollback } from '../../../src/cli/rollback.ts';
import { readSshLogin } from '../../../src/cli/ssh-login.ts';
import { ConfigError } from '../../../src/model/errors.ts';

const home = mkdtempSync(join(tmpdir(), 'celeriac-ssh-login-'));
const ssh = join(home, '.ssh');
mkdirSync(ssh);
const plain = ssh2.utils.generateKeyPairSync('ed25519').private;
const locked = ssh2.utils.generateKeyPairSync('ed25519', {
  passphrase: 'long and secret',
  cipher: 'aes256-ctr',
  rounds: 1,
}).private;
writeFileSync(join(ssh, 'plain'), plain);
writeFileSync(join(ssh, 'locked'), locked);
// The name of 203.0.113.7, as HashKnownHosts writes it.
const hashed = '|1|MDEyMzQ1Njc4OWFiY2RlZmdoaWo=|WfEvaXxlatjfjsvxAGnQTG6KC84=';
afterAll(() => rmSync(home, { recursive: true, force: true }));

beforeEach(() => {
  vi.stubEnv('HOME', home);
  vi.stubEnv('SSH_AUTH_SOCK', '');
  vi.stubEnv('CELERIAC_SSH_KEY_PASSPHRASE', '');
  pins(['203.0.113.7', 'vps', '[vps]:2222', '[203.0.113.7]:2222', 'bastion.example.org']);
});
afterEach(() => vi.unstubAllEnvs());

const pins = (names: readonly string[], file = 'known_hosts'): void =>
  writeFileSync(join(ssh, file), names.map((name) => `${name} ssh-ed25519 AAAA\n`).join(''));

function login(config: string, ...words: readonly string[]) {
  writeFileSync(join(ssh, 'config'), config);
  const found = readSshLogin(parseFlags(rollback, ['--host', 'vps', ...words]));
  return { ...found, knownHosts: found.knownHosts() };
}

function refusal(config: string, ...words: readonly string[]): ConfigError {
  try {
    login(config, ...words);
  } catch (error) {
    if (error instanceof ConfigError) return error;
  }
  throw new Error('expected a ConfigError');
}

const key = 'IdentityFile ~/.ssh/plain\n';

describe('~/.ssh/config', () => {
  test('says where the host is, and how to log in', () => {
    const text = `Host vps\n  HostName 203.0.113.7\n  Port 2222\n  User deploy\n  ${key}`;
    expect(login(text)).toMatchObject({
      host: '203.0.113.7',
      port: '2222',
      user: 'deploy',
      key: plain,
      knownHosts: expect.stringContaining('[203.0.113.7]:2222'),
      notes: [],
    });
  });

  test('comes after flags, and can be left out', () => {
    const text = `Host vps\n  Port 99\n  User deploy\n  ${key}`;
    expect(login(text, '--port', '2222', '--user', 'root')).toMatchObject({
      port: '2222',
      user: 'root',
    });
    const without = ['--ssh-config-file', 'none', '--ssh-key-file', join(ssh, 'plain')];
    expect(login('Host vps\n  User deploy\n', ...without)).toMatchObject({ host: 'vps', user: '' });
  });

  test('names the host in between, which is looked up, too', () => {
    const hop = 'Host hop\n  HostName bastion.example.org\n  User nika\n';
    expect(login(`${hop}Host vps\n  ProxyJump hop\nHost *\n  ${key}`)).toMatchObject({
      proxyJump: 'nika@bastion.example.org:22',
      knownHosts: expect.stringContaining('bastion.example.org ssh-ed25519'),
    });
    // As ssh does: the person's own name, not that of the target.
    const bare = login(
      `Host vps\n  User deploy\n  ProxyJump bastion.example.org\nHost *\n  ${key}`,
    );
    expect(bare.proxyJump).toBe(`${userInfo().username}@bastion.example.org:22`);
  });

  test('a hashed line of known_hosts pins the host', () => {
    pins([hashed]);
    const { knownHosts } = login(`HostName 203.0.113.7\n${key}`);
    expect(knownHosts.trim()).toBe('203.0.113.7 ssh-ed25519 AAAA');
    expect(refusal(key).message).toContain('no key for vps is pinned');
  });

  test('names the files with the pins; none of them is a refusal', () => {
    pins(['vps'], 'pins');
    expect(login(`UserKnownHostsFile ~/.ssh/none ~/.ssh/pins\n${key}`).knownHosts).toContain('vps');
    expect(refusal(`UserKnownHostsFile ~/.ssh/none\n${key}`).message).toContain('.ssh/none');
  });

  test('`Match user` is about whoever logs in', () => {
    const hop = 'Match originalhost hop user root\n  HostName bastion.example.org\n';
    const text = `${hop}Match originalhost vps user root\n  Port 2222\nHost *\n  ${key}`;
    expect(login(text, '--proxy-jump', 'hop')).toMatchObject({
      port: '2222',
      user: '',
      proxyJump: 'bastion.example.org:22',
    });
    expect(login(text, '--user', 'deploy').port).toBe('');
  });

  test('the host in between is pinned by its own files, and by no other', () => {
    pins(['bastion.example.org'], 'pins-bastion.example.org');
    pins(['vps'], 'pins-vps');
    const text = `Host hop\n  HostName bastion.example.org\nHost vps\n  ProxyJump hop\nHost *\n  ${key}`;
    const each = login(`${text}  UserKnownHostsFile ~/.ssh/pins-%h\n`).knownHosts;
    expect(each.split('\n').filter((line) => line !== '')).toEqual([
      'vps ssh-ed25519 AAAA',
      'bastion.example.org ssh-ed25519 AAAA',
    ]);
    pins(['vps', 'bastion.example.org'], 'pins-vps');
    pins(['other'], 'pins-bastion.example.org');
    expect(refusal(`${text}  UserKnownHostsFile ~/.ssh/pins-%h\n`).message).toContain(
      'no key for bastion.example.org is pinned',
    );
  });

  test('nor is a host pinned by a pattern in the files of the host in between', () => {
    pins(['*', '[vps]:2222,[bastion.example.org]:2222'], 'pins-bastion.example.org');
    pins(['vps'], 'pins-vps');
    const text = `Host hop\n  HostName bastion.example.org\nHost vps\n  ProxyJump hop\nHost *\n  ${key}`;
    const each = login(`${text}  UserKnownHostsFile ~/.ssh/pins-%h\n`).knownHosts;
    expect(each.split('\n').filter((line) => line !== '')).toEqual([
      'vps ssh-ed25519 AAAA',
      'bastion.example.org ssh-ed25519 AAAA',
      '[bastion.example.org]:0 ssh-ed25519 AAAA',
    ]);
  });

  test.each([
    ['ProxyCommand nc %h 22', 'ProxyCommand'],
    ['HostKeyAlias other', 'HostKeyAlias'],
    ['RevokedHostKeys ~/.ssh/bad', 'RevokedHostKeys'],
    ['CanonicalizeHostname yes', 'CanonicalizeHostname'],
    ['ProxyJump one,two', 'several hosts'],
    ['Match exec true\n  HostName elsewhere', 'Match exec true'],
    ['HostName %C.example.org', '%C'],
    ['Port ssh', 'invalid `port`'],
  ])('%j is refused with its line', (line, problem) => {
    const { where, message } = refusal(`Host vps\n${line}\nHost *\n${key}`);
    expect(message).toContain(problem);
    expect(where).toMatch(/\.ssh\/config:[23]$/);
  });

  test.each(['ProxyCommand none', 'ProxyJump none', 'CanonicalizeHostname no'])(
    '%j asks for nothing',
    (line) => expect(login(`${line}\n${key}`).notes).toEqual([]),
  );

  test('what a flag decides is not asked of it', () => {
    const text = `Match exec true\n  User other\nHost *\n${key}`;
    expect(refusal(text).message).toContain('may set `User`');
    expect(login(text, '--user', 'root').user).toBe('root');
  });

  test('what is skipped is said', () => {
    const { notes } = login(`CertificateFile ~/.ssh/c\nStrictHostKeyChecking no\n${key}${key}`);
    expect(notes.join('\n')).toMatch(/config:1: CertificateFile is not supported, and skipped/);
    expect(notes.join('\n')).toMatch(/config:2: .* the host key is always checked/);
    expect(notes.join('\n')).toMatch(/of 2 IdentityFile of this host, only .*plain is used/);
  });
});

describe('the key', () => {
  test('that is encrypted is the ssh-agent’s; without one, it says what to do', () => {
    const text = 'IdentityFile ~/.ssh/locked\n';
    const { where, message, expected } = refusal(text);
    expect(message).toContain('.ssh/locked is encrypted, and there is no ssh-agent');
    expect(expected).toContain('ssh-add');
    expect(where).toMatch(/config:1$/);
    vi.stubEnv('SSH_AUTH_SOCK', '/run/agent');
    expect(login(text)).toMatchObject({ key: '', agentSocket: '/run/agent' });
    vi.stubEnv('CELERIAC_SSH_KEY_PASSPHRASE', 'long and secret');
    expect(login(text).key).toBe(locked);
  });

  test('is another agent’s, if the configuration names one', () => {
    expect(login('IdentityAgent ~/.ssh/agent\n').agentSocket).toBe(join(ssh, 'agent'));
    vi.stubEnv('OTHER', '/run/other');
    expect(login('IdentityAgent $OTHER\n').agentSocket).toBe('/run/other');
    expect(refusal('IdentityAgent none\n').message).toContain('no key to log in with');
  });

  test('that is missing is skipped, as ssh does, and said', () => {
    vi.stubEnv('SSH_AUTH_SOCK', '/run/agent');
    const { key: chosen, notes } = login('IdentityFile ~/.ssh/gone\n');
    expect([chosen, notes.length]).toEqual(['', 1]);
    expect(notes[0]).toContain('.ssh/gone does not exist');
  });
});

test('a refusal of a command names the line, and nothing connects', async () => {
  writeFileSync(join(ssh, 'config'), 'Host vps\n  ProxyCommand nc %h 22\n');
  let err = '';
  const code = await runCommand(['status', '--host', 'vps'], {
    terminal: {
      out: () => {},
      note: (line) => {
        err += `${line}\n`;
      },
    },
    interrupted: new AbortController().signal,
    person: { name: 'nika', uid: 1000 },
    openAgent: () => Promise.reject(new Error('connected')),
  });
  expect(code).toBe(2);
  expect(err).toContain('`ProxyCommand` of vps is not supported');
  expect(err).toMatch(/where: .*\.ssh\/config:2/);
});
