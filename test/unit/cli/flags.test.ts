import { describe, expect, test } from 'vitest';
import { commands } from '../../../src/cli/celeriac.ts';
import { cleanup } from '../../../src/cli/cleanup.ts';
import { exitCodeOf } from '../../../src/cli/exit-code.ts';
import {
  asFlags,
  flagsOf,
  loginFileFlags,
  loginFlags,
  parseFlags as parse,
} from '../../../src/cli/flags.ts';
import { renderCommands, renderHelp } from '../../../src/cli/help.ts';
import { nearest } from '../../../src/cli/nearest.ts';
import { cleanupInputs } from '../../../src/config/cleanup-inputs.ts';
import { ConfigError, HostError } from '../../../src/model/errors.ts';

const cleanupFlags = flagsOf(cleanup);
const parseFlags = (words: readonly string[]) => parse(cleanup, words);

describe('flags', () => {
  test('every input of the action has one, except those from files and the environment', () => {
    const names = cleanupFlags.map(({ name }) => name);
    const elsewhere = ['ssh-key', 'ssh-key-passphrase', 'known-hosts'];
    for (const name of Object.keys(cleanupInputs)) {
      expect([name, names.includes(name)]).toEqual([name, !elsewhere.includes(name)]);
    }
    expect(new Set(names).size).toBe(names.length);
  });

  test('an input is a switch by its type, however it describes what it expects', () => {
    const { 'dry-run': dryRun } = cleanupInputs;
    const inputs = { 'dry-run': { ...dryRun, expected: 'yes or no' } };
    const [flag] = flagsOf({ name: 'x', inputs, own: [], refuse: () => {} });
    expect(flag).toMatchObject({ isSwitch: true, takes: '' });
  });

  test('every input of the login belongs to --host, and so do the files of ssh', () => {
    expect([...loginFlags, ...loginFileFlags]).toEqual([
      ...['port', 'user', 'agent', 'proxy-jump', 'connect-timeout'],
      ...['ssh-key-file', 'known-hosts-file', 'ssh-config-file'],
    ]);
    for (const name of [...loginFlags, ...loginFileFlags]) {
      expect(() => parseFlags([`--${name}`, 'x'])).toThrow(`\`--${name}\` requires \`--host\``);
    }
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
  ])('%j is ambiguous and is refused', (words, problem) => {
    expect(() => parseFlags(words)).toThrow(ConfigError);
    expect(() => parseFlags(words)).toThrow(problem);
  });

  test.each([
    [['--bogus'], 'unknown flag `--bogus`'],
    [['--treshold', '5m'], 'unknown flag `--treshold`'],
    [['--threshold'], "Option '--threshold <value>' argument missing"],
    [['jobs.db'], "Unexpected argument 'jobs.db'"],
  ])('%j is refused', (words, problem) => {
    expect(() => parseFlags(words)).toThrow(ConfigError);
    expect(() => parseFlags(words)).toThrow(problem);
  });

  test('an error names the flag, not the input', () => {
    const where = (text: string) => asFlags(new ConfigError(text, 'wrong', 'right')).where;
    expect(where('input threshold')).toBe('--threshold');
    expect(where('input stores, line 3, column 5')).toBe('--stores, line 3, column 5');
    expect(where('input known-hosts')).toBe('--known-hosts-file');
    expect(where('known-hosts:3')).toBe('--known-hosts-file, line 3');
    expect(where('input ssh-key-passphrase')).toBe('CELERIAC_SSH_KEY_PASSPHRASE');
    expect(where('command line')).toBe('command line');
  });

  test('of an unknown one, the error names the nearest', () => {
    expect(() => parseFlags(['--treshold=5m'])).toThrow(
      expect.objectContaining({ expected: expect.stringMatching(/^`--threshold`\?/) }),
    );
    expect(() => parseFlags(['--no-orhpans'])).toThrow(
      expect.objectContaining({ expected: expect.stringMatching(/^`--no-orphans`\?/) }),
    );
    expect(() => parseFlags(['--frobnicate'])).toThrow(
      expect.objectContaining({ expected: expect.stringMatching(/^flags as /) }),
    );
  });
});

describe('the help', () => {
  test.each(commands.map((command) => [command.name, command] as const))(
    'of %s lists every flag and exit code, in lines that fit a terminal',
    (name, command) => {
      const help = renderHelp(command);
      expect(help).toContain(`Usage: celeriac ${name} `);
      for (const flag of flagsOf(command)) expect(help).toContain(`--${flag.name}`);
      expect(Math.max(...help.split('\n').map((line) => line.length))).toBeLessThanOrEqual(100);
      for (const code of Object.keys(command.exits)) {
        expect(help).toMatch(new RegExp(`^  ${code} +\\w`, 'm'));
      }
    },
  );

  test('of the program lists every command', () => {
    const help = renderCommands(commands);
    for (const { name } of commands) expect(help).toMatch(new RegExp(`^  ${name} `, 'm'));
    expect(Math.max(...help.split('\n').map((line) => line.length))).toBeLessThanOrEqual(100);
  });
});

test('the nearest name is one with few changes', () => {
  const names = ['cleanup', 'harden', 'unharden'];
  expect(nearest('clenaup', names)).toBe('cleanup');
  expect(nearest('hardn', names)).toBe('harden');
  expect(nearest('unhardne', names)).toBe('unharden');
  expect(nearest('deploy', names)).toBeNull();
  expect(nearest('', names)).toBeNull();
  expect(nearest('x', [])).toBeNull();
});

test('usage errors and failures have different exit codes', () => {
  expect(exitCodeOf(new ConfigError('--ids', 'wrong', 'right'))).toBe(2);
  expect(exitCodeOf(new HostError('gone', { step: 'connect', next: 'run again' }))).toBe(1);
});
