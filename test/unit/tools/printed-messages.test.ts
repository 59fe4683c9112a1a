import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { KEYS, publicPart, TestServer } from '../adapters/ssh-server.ts';
import { hostCase, initAt } from '../cli/init-hosts.ts';

const root = join(import.meta.dirname, '../../..');
const program = join(root, 'cli/dist/index.js');
const page = readFileSync(join(root, 'docs/troubleshooting.md'), 'utf8');

/** The errors of the page, with anything where a name in angle brackets is. */
const entries = [...page.matchAll(/^- <a id="error-[^"]+"><\/a>(`+) ?(.+?) ?\1(?!`)/gm)].map(
  ([, , text = '']) => {
    const parts = text.split(/<[^<>]*>/).map((part) => part.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&'));
    return { words: parts.join('').length, pattern: new RegExp(`^${parts.join('.+')}$`) };
  },
);

/** Whether the page has this text; an entry that is hardly more than a name is none. */
const known = (text: string): boolean =>
  entries.some(({ words, pattern }) => words >= 0.25 * text.length && pattern.test(text));

/** The text of the error: what its first line says after the command. */
const problemOf = (err: string): string =>
  err
    .split('\n')
    .findLast((line) => /^[a-z]+: /.test(line) && !/^(?:settings|warning|notice): /.test(line))
    ?.replace(/^[a-z]+: /, '')
    .replace(/[.:]$/, '') ?? '';

test('the page does not have what nobody says', () => {
  expect(entries.length).toBeGreaterThan(900);
  expect(known('a sentence that nobody ever wrote')).toBe(false);
  expect(known('')).toBe(false);
});

const printOf = (pair: typeof KEYS.ed25519): string => {
  const key = Buffer.from(publicPart(pair).split(' ')[1] ?? '', 'base64');
  return `SHA256:${createHash('sha256').update(key).digest('base64').replace(/=+$/, '')}`;
};

describe('the committed program', () => {
  const folder = mkdtempSync(join(tmpdir(), 'celeriac-printed-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  const at = (name: string, text: string): string => {
    const path = join(folder, name);
    writeFileSync(path, text);
    return path;
  };
  const fleet = (text: string, name = 'fleet.yml'): readonly string[] => [
    'rollback',
    '--host',
    'web1',
    '--fleet-file',
    at(name, text),
  ];
  const web1 = 'hosts: { web1: { host: 203.0.113.7 } }\n';

  test.each<[words: () => readonly string[], text: string]>([
    [() => ['mend'], 'unknown command `mend`'],
    [() => ['status', '--watsch'], 'unknown flag `--watsch`'],
    [() => ['status', '--every', '5s'], '`--every` requires `--watch`'],
    [() => ['completion', 'sh'], 'unknown shell `sh`'],
    [() => ['completion'], 'missing shell'],
    [() => ['init'], 'missing `--host`'],
    [() => ['cleanup', '--ids', ''], '`--ids` is empty'],
    [() => ['cleanup', '--user', 'root'], '`--user` requires `--host`'],
    [() => ['cleanup', '--host', 'x', '--sudo'], '`--sudo` cannot be combined with `--host`'],
    [() => ['cleanup', '--threshold', 'x'], 'invalid `threshold`'],
    [() => ['harden', '--print', '--json'], '`--print` does not support `--json`'],
    [() => ['harden', '--read-key-file', 'f'], '`--read-key-file` requires `--read-user`'],
    [() => ['deploy', '--gate', 'http'], '`--gate` requires `--verify`'],
    [() => ['deploy', '--hosts', 'a'], '`--hosts` requires `--fleet`'],
    [() => ['deploy', '--fleet', 'f', '--host', 'a'], '`--host` cannot be combined with `--fleet`'],
    [() => ['deploy', '--fleet', '/none'], 'cannot read /none'],
    [() => ['deploy', '--fleet', at('one.yml', 'host: a\n')], 'no `hosts`'],
    [() => ['deploy', '--fleet', at('a.yml', web1), '--hosts', 'db*'], 'no host matches `db*`'],
    [() => fleet('unti: a\n'), 'unknown key `unti`; did you mean `unit`?'],
    [() => fleet('zzzzzzzz: a\n'), 'unknown key'],
    [
      () => fleet('groups: { shop: }\nhosts: { web1: { groups: shpo } }\n'),
      'unknown group `shpo`; did you mean `shop`?',
    ],
    [
      () => fleet(`${web1}rollout: { canary: wbe1 }\n`),
      'unknown host `wbe1`; did you mean `web1`?',
    ],
    [() => fleet(`${web1}unit: a\n`), '`unit` beside `hosts`'],
    [() => fleet('hosts: {}\n'), '`hosts` is empty'],
    [() => fleet('ssh-key: a\n'), '`ssh-key` is a secret'],
    [() => fleet('unit:\n\t- a\n'), 'invalid YAML: tabs cannot indent'],
    [() => fleet('unit: a\nunit: b\n'), 'invalid YAML: a key is there twice; keys must be unique'],
    [() => fleet('unit: [\n'), 'invalid YAML: '],
    [
      () => [
        ...['provision', '--host', '203.0.113.9', '--ssh-key-file', at('key', KEYS.login.private)],
        ...fleet(web1).slice(3),
      ],
      'is for web1 (203.0.113.7), not for 203.0.113.9',
    ],
    [
      () => ['provision', ...fleet(web1).slice(3)],
      'no `--host`, which would be this machine, but ',
    ],
    [() => ['status', '--host', 'x', '--ssh-config-file', '/none'], 'cannot read /none'],
    [
      () => ['status', '--host', 'x', '--ssh-key-file', at('key', KEYS.login.private)],
      'cannot read ',
    ],
  ])('%s: the page has an entry for "%s"', (words, text) => {
    const { stderr, status } = spawnSync(process.execPath, [program, ...words()], {
      encoding: 'utf8',
      cwd: folder,
      env: { PATH: process.env.PATH, HOME: folder },
      timeout: 60_000,
    });
    expect([status, stderr]).toEqual([2, expect.stringContaining(text)]);
    expect(problemOf(stderr)).toContain(text);
    const problem = problemOf(stderr).replaceAll(folder, '/home');
    expect([problem, known(problem)]).toEqual([problem, true]);
  });
});

const trusted = ['--fingerprint', printOf(KEYS.ed25519)];

describe('init, at a host', () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await TestServer.start({ hostKeys: [KEYS.ed25519] });
  });
  afterAll(() => server[Symbol.asyncDispose]());

  test.each([
    [[], null, 'is unknown, and nobody can be asked'],
    [['--fingerprint', 'x'], null, 'not a fingerprint'],
    [['--fingerprint', `SHA256:${'a'.repeat(43)}`], null, 'fingerprint'],
    [[], ['no'], 'the host key was not confirmed'],
    [['--repository', '/'], null, 'is not in a Git repository'],
    [['--known-hosts-file', '/none'], null, 'cannot read /none'],
    [['trusting'], null, 'several workers were found'],
    [['trusting', '--worker', 'nope'], null, 'no worker `nope` on the host'],
    [['trusting'], ['9'], 'none was chosen'],
  ])('%j, answering %j: the page has an entry for "%s"', async (given, answers, text) => {
    const words = given.flatMap((word) => (word === 'trusting' ? trusted : [word]));
    const { err } = await initAt(hostCase('two-workers'), server).run(words, answers);
    const problem = problemOf(err);
    expect(problem).toContain(text);
    expect([problem, known(problem)]).toEqual([problem, true]);
  });
});
