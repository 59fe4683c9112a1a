import { describe, expect, test } from 'vitest';
import { exitCodeOf, exitCodes } from '../../../src/cli/exit-code.ts';
import { asFlags, cleanupFlags, parseFlags, renderHelp } from '../../../src/cli/flags.ts';
import { cleanupInputs } from '../../../src/config/action-inputs.ts';
import { ConfigError, HostError } from '../../../src/model/errors.ts';

describe('flags', () => {
  test('every input of the action has one, except those from files and the environment', () => {
    const names = cleanupFlags.map(({ name }) => name);
    const elsewhere = ['ssh-key', 'ssh-key-passphrase', 'known-hosts', 'fleet-file'];
    for (const name of Object.keys(cleanupInputs)) {
      expect([name, names.includes(name)]).toEqual([name, !elsewhere.includes(name)]);
    }
    expect(new Set(names).size).toBe(names.length);
  });

  test('switches need no value, and can be negated', () => {
    const given = parseFlags(['--dry-run', '--no-orphans', '--threshold=5m', '--ids', 'a1,b2']);
    expect(Object.fromEntries(given)).toEqual({
      'dry-run': 'true',
      orphans: 'false',
      threshold: '5m',
      ids: 'a1,b2',
    });
  });

  test('switches also accept a value, like inputs of a workflow', () => {
    const given = parseFlags([
      '--orphans',
      'false',
      '--dry-run=true',
      '--json=false',
      '--ids',
      'a',
    ]);
    expect(Object.fromEntries(given)).toEqual({
      orphans: 'false',
      'dry-run': 'true',
      json: 'false',
      ids: 'a',
    });
    expect(() => parseFlags(['--dry-run=perhaps'])).toThrow(ConfigError);
  });

  test.each([
    '- database: /srv/a.db',
    '- {database: /srv/a.db}',
    '-\n  database: /srv/a.db',
    '---\n- database: /srv/a.db',
  ])('%j is a value, though it begins with a dash', (stores) => {
    for (const words of [['--stores', stores], [`--stores=${stores}`]]) {
      const given = parseFlags([...words, '--dry-run']);
      expect(Object.fromEntries(given)).toEqual({ stores, 'dry-run': 'true' });
    }
  });

  test('a flag is no value of the one before it', () => {
    expect(() => parseFlags(['--stores', '--dry-run'])).toThrow(/--stores/);
    expect(() => parseFlags(['--dry-run', '- database: /srv/a.db'])).toThrow(ConfigError);
  });

  test.each([
    [['--ids', ''], '`--ids` is empty'],
    [['--database', ' '], '`--database` is empty'],
    [['--host='], '`--host` is empty'],
    [['--user', 'deploy'], '`--user` requires `--host`'],
    [['--ssh-key-file', 'key', '--dry-run'], '`--ssh-key-file` requires `--host`'],
    [['--host', 'vps', '--sudo'], '`--sudo` cannot be combined with `--host`'],
    [['--restore', 'latest', '--json'], '`--restore` does not support `--json`'],
  ])('%j is ambiguous and is refused', (words, problem) => {
    expect(() => parseFlags(words)).toThrow(ConfigError);
    expect(() => parseFlags(words)).toThrow(problem);
  });

  test.each([
    [['--bogus'], "Unknown option '--bogus'"],
    [['--threshold'], "Option '--threshold <value>' argument missing"],
    [['jobs.db'], "Unexpected argument 'jobs.db'"],
  ])('%j is refused', (words, problem) => {
    expect(() => parseFlags(words)).toThrow(ConfigError);
    expect(() => parseFlags(words)).toThrow(problem);
  });

  test('an error names the flag, not the input', () => {
    const where = (text: string) => asFlags(new ConfigError(text, 'wrong', 'right')).where;
    expect(where('input threshold')).toBe('--threshold');
    expect(where('input stores, line 3')).toBe('--stores, line 3');
    expect(where('input known-hosts')).toBe('--known-hosts-file');
    expect(where('known-hosts:3')).toBe('--known-hosts-file, line 3');
    expect(where('input ssh-key-passphrase')).toBe('CELERIAC_SSH_KEY_PASSPHRASE');
    expect(where('command line')).toBe('command line');
  });

  test('the help lists every flag, in lines that fit a terminal', () => {
    const help = renderHelp();
    for (const { name } of cleanupFlags) expect(help).toContain(`--${name}`);
    expect(Math.max(...help.split('\n').map((line) => line.length))).toBeLessThanOrEqual(100);
    for (const code of Object.values(exitCodes)) expect(help).toMatch(new RegExp(`\\b${code} `));
  });
});

test('usage errors and failures have different exit codes', () => {
  expect(exitCodeOf(new ConfigError('--ids', 'wrong', 'right'))).toBe(2);
  expect(exitCodeOf(new HostError('gone', { step: 'connect', next: 'run again' }))).toBe(1);
});
