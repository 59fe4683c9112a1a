import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test, vi } from 'vitest';
import { cleanup } from '../../../src/cli/cleanup.ts';
import { connectionOf, givenBy } from '../../../src/cli/connection.ts';
import { inputsFor, parseFlags } from '../../../src/cli/flags.ts';
import { cleanupInputs } from '../../../src/config/cleanup-inputs.ts';
import { readInputs } from '../../../src/config/read-inputs.ts';
import { ConfigError } from '../../../src/model/errors.ts';
import { makeTemporaryFolder } from '../../lib/temporary.ts';

const folder = mkdtempSync(join(tmpdir(), 'celeriac-connection-'));
const keyFile = join(folder, 'key');
const knownHosts = join(folder, 'known_hosts');
writeFileSync(keyFile, 'the key');
writeFileSync(knownHosts, 'other.example.org what is this\nvps.example.org ssh-ed25519 AAAA\n');
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const root = { name: 'root', uid: 0 };
const alice = { name: 'alice', uid: 1000 };

function connect(words: readonly string[], person = root) {
  const flags = parseFlags(cleanup, words);
  const values = readInputs(inputsFor(cleanupInputs, flags.has('host')), givenBy(flags), new Map());
  return connectionOf(flags, values, person);
}

function sshTarget(words: readonly string[], person = root) {
  const options = connect(words, person);
  if (!('target' in options)) throw new Error('expected a connection over SSH');
  return options.target;
}

async function localUser(words: readonly string[], person = root): Promise<string> {
  const options = connect(words, person);
  if (!('connect' in options)) throw new Error('expected a connection to this machine');
  return (await options.connect()).target.user;
}

const files = ['--ssh-key-file', keyFile, '--known-hosts-file', knownHosts];

describe('over SSH', () => {
  test('the key and the pinned keys come from files, only those of that host', () => {
    const target = sshTarget(['--host', 'vps.example.org', ...files]);
    expect(target).toMatchObject({ host: 'vps.example.org', port: 22, user: 'root' });
    expect(target.key).toBe('the key');
    expect(target.knownHosts.trim()).toBe('vps.example.org ssh-ed25519 AAAA');
  });

  test('the key of a jump host is pinned by the same file', () => {
    const jumping = ['--host', 'vps.example.org', '--proxy-jump', 'ann@other.example.org:2222'];
    const unknown = ['--host', 'vps.example.org', '--proxy-jump', 'new.example.org'];
    expect(refusal(() => connect([...unknown, ...files])).message).toContain(
      'no key for new.example.org',
    );
    const both = join(folder, 'both');
    const lines = 'vps.example.org ssh-ed25519 AAAA\n[other.example.org]:2222 ssh-ed25519 BBBB\n';
    writeFileSync(both, lines);
    const target = sshTarget([...jumping, '--ssh-key-file', keyFile, '--known-hosts-file', both]);
    expect(target.jump).toEqual({ host: 'other.example.org', port: 2222, user: 'ann' });
    expect(target.knownHosts).toContain('[other.example.org]:2222 ssh-ed25519 BBBB');
    expect(target.knownHosts).toContain('vps.example.org ssh-ed25519 AAAA');
  });

  test('without a key file, an ssh-agent logs in', () => {
    vi.stubEnv('SSH_AUTH_SOCK', '/run/agent');
    const target = sshTarget(['--host', 'vps.example.org', '--known-hosts-file', knownHosts]);
    expect(target.key).toBe('');
    vi.unstubAllEnvs();
  });

  test('the usual key file stands in for an ssh-agent without keys, unless one is named', () => {
    vi.stubEnv('SSH_AUTH_SOCK', '/run/agent');
    vi.stubEnv('HOME', folder);
    mkdirSync(join(folder, '.ssh'));
    writeFileSync(join(folder, '.ssh', 'id_rsa'), 'the usual key');
    const host = ['--host', 'vps.example.org', '--known-hosts-file', knownHosts];
    expect(sshTarget(host)).toMatchObject({ key: '', keyWithoutAgent: 'the usual key' });
    const named = sshTarget([...host, '--ssh-key-file', keyFile]);
    expect(named).toMatchObject({ key: 'the key', keyWithoutAgent: '' });
    vi.unstubAllEnvs();
  });

  test('without an ssh-agent, any usual key logs in; if there is none, the error says where it looked', () => {
    const home = makeTemporaryFolder();
    vi.stubEnv('SSH_AUTH_SOCK', '');
    vi.stubEnv('HOME', home);
    const host = ['--host', 'vps.example.org', '--known-hosts-file', knownHosts];
    const { message } = refusal(() => sshTarget(host));
    expect(message).toContain('there is no key to log in with');
    for (const name of ['id_rsa', 'id_ecdsa', 'id_ed25519']) {
      expect(message).toContain(join(home, '.ssh', name));
      mkdirSync(join(home, '.ssh'), { recursive: true });
      writeFileSync(join(home, '.ssh', name), `this is ${name}`);
      expect(sshTarget(host).key).toBe(`this is ${name}`);
    }
    vi.unstubAllEnvs();
  });

  test('a local user without root is allowed', () => {
    expect(sshTarget(['--host', 'vps.example.org', ...files], alice).user).toBe('root');
  });

  test.each([
    [['--host', 'vps.example.org', '--ssh-key-file', '/none'], '--ssh-key-file', '/none'],
    [['--host', 'new.example.org', ...files], 'input known-hosts', 'no key for new.example.org'],
    [['--host', 'vps.example.org', '--port', 'ssh', ...files], 'input port', 'invalid `port`'],
  ])('%j is refused', (words, where, problem) => {
    const error = refusal(() => connect(words));
    expect(error.where).toBe(where);
    expect(error.message).toContain(problem);
  });
});

describe('on this machine', () => {
  test('root needs no sudo; others get it only on request', async () => {
    expect(await localUser([])).toBe('root');
    expect(await localUser(['--sudo'])).toBe('root');
    expect(await localUser(['--dry-run'], alice)).toBe('root');
    expect(await localUser(['--sudo'], alice)).toBe('alice');
  });

  test('users other than root may only look', () => {
    const error = refusal(() => connect(['--no-sudo'], alice));
    expect(error.message).toBe('alice is not root; only root can make changes');
  });
});

function refusal(work: () => unknown): ConfigError {
  try {
    work();
  } catch (error) {
    if (error instanceof ConfigError) return error;
  }
  throw new Error('expected a ConfigError');
}
