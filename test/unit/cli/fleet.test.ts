import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { parseFlags } from '../../../src/cli/flags.ts';
import { readFleet, withFleetHost } from '../../../src/cli/fleet.ts';
import { rollback } from '../../../src/cli/rollback.ts';
import { ConfigError } from '../../../src/model/errors.ts';

const home = mkdtempSync(join(tmpdir(), 'celeriac-fleet-'));
mkdirSync(join(home, '.ssh'));
writeFileSync(join(home, '.ssh', 'known_hosts'), '203.0.113.7,198.51.100.9 ssh-ed25519 AAAA\n');
writeFileSync(join(home, '.ssh', 'id_ed25519'), 'the key');
afterAll(() => rmSync(home, { recursive: true, force: true }));
beforeEach(() => {
  vi.stubEnv('HOME', home);
  vi.stubEnv('SSH_AUTH_SOCK', '/run/agent');
});
afterEach(() => vi.unstubAllEnvs());

const hosts = `
defaults:
  unit: shop.service
hosts:
  web1:
    host: 203.0.113.7
    port: 2222
    user: deploy
    deploy-worker:
      concurrency: 2
  web2:
    host: 203.0.113.8
`;

function flagsOf(text: string, ...words: readonly string[]) {
  const file = join(home, 'fleet.yml');
  writeFileSync(file, text);
  return withFleetHost(parseFlags(rollback, [...words, '--fleet-file', file]));
}

function read(text: string, words: readonly string[], changes = true) {
  const notes: string[] = [];
  const terminal = { out: () => {}, note: (line: string) => void notes.push(line) };
  const values = readFleet(flagsOf(text, ...words), 'deploy-worker', { terminal }, { changes });
  return {
    ...Object.fromEntries([...values].map(([name, { text: value }]) => [name, value])),
    notes,
  };
}

function refusal(work: () => unknown): ConfigError {
  try {
    work();
  } catch (error) {
    if (error instanceof ConfigError) return error;
  }
  throw new Error('expected a ConfigError');
}

describe('a fleet with several hosts', () => {
  test('gives a host its address and its own settings, and its user unless a flag says so', () => {
    const flags = flagsOf(hosts, '--host', 'web1', '--known-hosts-file', '/none');
    expect([flags.get('host'), flags.get('port'), flags.get('user')]).toEqual([
      '203.0.113.7',
      '2222',
      'deploy',
    ]);
    expect(flagsOf(hosts, '--host', 'web1', '--user', 'root').get('user')).toBe('root');
    expect(flagsOf(hosts, '--host', 'web1', '--port', '22').get('port')).toBe('22');
    const { notes, ...values } = read(hosts, ['--host', '203.0.113.7']);
    expect(values).toEqual({ unit: 'shop.service', concurrency: '2' });
    expect(notes).toEqual([expect.stringContaining('settings: ')]);
  });

  test('is known by an alias of ssh, which comes first', () => {
    writeFileSync(join(home, '.ssh', 'config'), 'Host web1 other\n  HostName 203.0.113.7\n');
    expect(flagsOf(hosts, '--host', 'web1').get('host')).toBe('web1');
    expect(read(hosts, ['--host', 'other'])).toMatchObject({ concurrency: '2' });
    rmSync(join(home, '.ssh', 'config'));
  });

  test('is for no other host', () => {
    const words = ['--host', '198.51.100.9'];
    const { message, expected } = refusal(() => read(hosts, words));
    expect(message).toContain('is for web1, web2, not for 198.51.100.9');
    expect(expected).toContain('--fleet-file none');
    const { notes, ...values } = read(hosts, words, false);
    expect(values).toEqual({});
    expect(notes).toEqual([expect.stringContaining('warning: ')]);
  });

  test('is not for this machine unless that is said', () => {
    expect(refusal(() => read(hosts, [])).message).toContain('no `--host`');
  });
});

test('a file that names no host is for every host', () => {
  expect(read('concurrency: 3\n', ['--host', '198.51.100.9'])).toMatchObject({ concurrency: '3' });
  expect(read('concurrency: 3\n', [])).toMatchObject({ concurrency: '3' });
});
