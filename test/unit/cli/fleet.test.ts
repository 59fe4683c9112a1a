import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { parseFlags } from '../../../src/cli/flags.ts';
import { readFleet, withFleetHost } from '../../../src/cli/fleet.ts';
import { describeNext } from '../../../src/cli/next-command.ts';
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
    const { notes, ...values } = read(hosts, ['--host', '203.0.113.7', '--port', '2222']);
    expect(values).toEqual({ unit: 'shop.service', concurrency: '2' });
    expect(notes).toEqual([expect.stringContaining('settings: ')]);
  });

  test('is known by an alias of ssh, which comes first', () => {
    writeFileSync(
      join(home, '.ssh', 'config'),
      'Host web1 other\n  HostName 203.0.113.7\n  Port 2222\n',
    );
    expect(flagsOf(hosts, '--host', 'web1').get('host')).toBe('web1');
    expect(read(hosts, ['--host', 'other'])).toMatchObject({ concurrency: '2' });
    rmSync(join(home, '.ssh', 'config'));
  });

  test('is not for another machine that ssh knows by the same name', () => {
    writeFileSync(join(home, '.ssh', 'config'), 'Host web1\n  HostName 198.51.100.9\n');
    expect(refusal(() => read(hosts, ['--host', 'web1'])).message).toContain(
      'not for 198.51.100.9',
    );
    rmSync(join(home, '.ssh', 'config'));
  });

  test('is not for another port of the same address', () => {
    expect(refusal(() => read(hosts, ['--host', '203.0.113.7'])).message).toContain(
      'not for 203.0.113.7',
    );
  });

  test('does not choose between two units of one machine', () => {
    const two =
      'hosts:\n  a:\n    host: 203.0.113.7\n    unit: a.service\n  b:\n    host: 203.0.113.7\n';
    const words = ['--host', '203.0.113.7'];
    const { message, expected } = refusal(() => read(two, words));
    expect(message).toContain('203.0.113.7 is a (203.0.113.7), b (203.0.113.7)');
    expect(expected).toContain('one of these names');
    const { notes, ...values } = read(two, words, false);
    expect(values).toEqual({});
    expect(notes).toEqual([expect.stringContaining('its settings do not apply')]);
    expect(read(two, ['--host', 'a'])).toMatchObject({ unit: 'a.service' });
  });

  test('is for no other host', () => {
    const words = ['--host', '198.51.100.9'];
    const { message, expected } = refusal(() => read(hosts, words));
    expect(message).toContain(
      'is for web1 (203.0.113.7 port 2222), web2 (203.0.113.8), not for 198.51.100.9',
    );
    expect(expected).toContain('--fleet-file none');
    const { notes, ...values } = read(hosts, words, false);
    expect(values).toEqual({});
    expect(notes).toEqual([expect.stringContaining('warning: ')]);
  });

  test('is not for this machine unless that is said', () => {
    expect(refusal(() => read(hosts, [])).message).toContain('no `--host`');
  });
});

test('a file for one host says nothing of another, not even its unit', () => {
  const one = 'host: 203.0.113.8\nunit: a.service\n';
  expect(read(one, ['--host', '203.0.113.8'])).toMatchObject({ unit: 'a.service' });
  const { notes, ...values } = read(one, ['--host', '198.51.100.9'], false);
  expect(values).toEqual({});
  expect(notes).toEqual([expect.stringContaining('is for 203.0.113.8, not for 198.51.100.9')]);
});

test('the next command names its unit, whatever a fleet file says', () => {
  const flags = flagsOf(hosts, '--host', '198.51.100.9');
  expect(describeNext('verify', flags, 'celery-worker.service')).toContain(
    ' --unit celery-worker.service',
  );
});

test('a file that names no host is for every host', () => {
  expect(read('concurrency: 3\n', ['--host', '198.51.100.9'])).toMatchObject({ concurrency: '3' });
  expect(read('concurrency: 3\n', [])).toMatchObject({ concurrency: '3' });
});
