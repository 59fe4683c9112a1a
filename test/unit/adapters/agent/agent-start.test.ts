import { describe, expect, test } from 'vitest';
import {
  loaderPath,
  packProgram,
  programOf,
  startCommand,
} from '../../../../src/adapters/agent/agent-start.ts';
import { explainStart, type StartEvidence } from '../../../../src/adapters/agent/explain-start.ts';
import { hostProgram } from '../../../../src/generated/host-program.ts';

const BASE: StartEvidence = {
  host: 'vps.example.org',
  user: 'deploy',
  stdout: '',
  stderr: '',
  ended: { kind: 'exit', code: 1, signal: null },
};

const explain = (changes: Partial<StartEvidence>) => explainStart({ ...BASE, ...changes });

describe('the command', () => {
  const { build } = programOf({ [loaderPath]: '' });

  test('survives every login shell: no single quote, no line break, no history', () => {
    const command = startCommand(build, true, 'root');
    expect(command).toMatch(/^python3 -I -S -uc '[^'!\n]+'$/);
    expect(command).toContain(build);
    expect(startCommand(build, true, 'deploy')).toBe(`sudo -n ${command}`);
  });

  test('drops the request that is sent along only if there is one', () => {
    const reads = (isAsked: boolean) =>
      startCommand(build, isAsked, 'root').split('i.readline()').length - 1;
    expect([reads(true), reads(false)]).toEqual([2, 1]);
  });

  test('names the version by the sources', () => {
    expect(build).toMatch(/^[0-9a-f]{64}$/);
    expect(programOf({ [loaderPath]: '' }).build).toBe(build);
    expect(programOf({ [loaderPath]: ' ' }).build).not.toBe(build);
    expect(programOf(JSON.parse(hostProgram.json()))).toMatchObject({ build: hostProgram.build });
  });
});

describe('the program', () => {
  test('is compressed once, and again when that failed', async () => {
    const program = programOf({ [loaderPath]: '' });
    let count = 0;
    const compress = async (text: string) => {
      count += 1;
      if (count === 1) throw new Error('no memory');
      return Buffer.from(text);
    };
    await expect(packProgram(program, compress)).rejects.toThrow('no memory');
    const packed = await packProgram(program, compress);
    expect(await packProgram(program, compress)).toBe(packed);
    expect(count).toBe(2);
  });

  test('is not sent under the name of another version, as after an update of Celeriac', async () => {
    const replaced = { ...programOf({ [loaderPath]: '' }), json: () => '{}' };
    await expect(packProgram(replaced)).rejects.toThrow('Celeriac was replaced by another version');
  });
});

describe('why the agent did not start', () => {
  test.each([
    ['celeriac: python 3.6.9 is too old', 1, 'expected 3.8 or newer, found 3.6.9'],
    ['sudo: a password is required', 1, 'deploy may not use sudo without a password'],
    [
      'sudo: a terminal is required to read the password; either use the -S option to read from standard input or configure an askpass helper\nsudo: a password is required',
      1,
      'deploy may not use sudo without a password',
    ],
    ['deploy is not in the sudoers file.', 1, 'deploy is not allowed to use sudo'],
    [
      "Sorry, user deploy is not allowed to execute '/usr/bin/python3' as root on vps.",
      1,
      'deploy is not allowed to use sudo',
    ],
    ['sudo: sorry, you must have a tty to run sudo', 1, 'sudo requires a terminal for deploy'],
    ['bash: line 1: sudo: command not found', 127, 'the server has no sudo'],
    ['sh: 1: sudo: not found', 127, 'the server has no sudo'],
    ['zsh:1: command not found: sudo', 127, 'the server has no sudo'],
    ['fish: Unknown command: sudo', 127, 'the server has no sudo'],
    ['sudo: Command not found.', 1, 'the server has no sudo'],
    ['sudo: python3: command not found', 1, 'vps.example.org has no python3'],
    ['bash: line 1: python3: command not found', 127, 'vps.example.org has no python3'],
    ['sh: 1: python3: not found', 127, 'vps.example.org has no python3'],
    ['-ash: python3: not found', 127, 'vps.example.org has no python3'],
    ['zsh:1: command not found: python3', 127, 'vps.example.org has no python3'],
    ["fish: Unknown command 'python3'", 127, 'vps.example.org has no python3'],
    ['python3: Command not found.', 1, 'vps.example.org has no python3'],
    ['sudo: Ein Passwort ist notwendig', 1, 'sudo refused deploy: Ein Passwort ist notwendig'],
    ['sudo: /etc/sudoers is world writable', 1, 'sudo refused deploy: /etc/sudoers is world'],
    [
      'Your account has expired; please contact your system administrator.',
      1,
      'the account deploy, or its password, has expired',
    ],
    [
      'WARNING: Your password has expired.\nPassword change required but no TTY available.',
      1,
      'the account deploy, or its password, has expired',
    ],
    ['System is booting up. Unprivileged users are not permitted', 1, 'booting or shutting down'],
    [
      "OSError: [Errno 28] No space left on device: '/tmp'",
      1,
      'the disk of vps.example.org is full',
    ],
    ['bash: fork: Cannot allocate memory', 254, 'is out of memory'],
    ["fatal: unrecognized command 'sudo -n python3'", 128, 'runs a fixed command'],
    [
      'Traceback (most recent call last):\n  File "<string>", line 1, in <module>\nModuleNotFoundError: No module named \'zlib\'',
      1,
      "did not start on vps.example.org: ModuleNotFoundError: No module named 'zlib'",
    ],
    ['', 127, 'cannot run `sudo -n python3` (exit code 127)'],
    ['', 1, 'ended with exit code 1 without running `sudo -n python3`'],
  ])('stderr %j, exit code %i', (stderr, code, problem) => {
    const error = explain({ stderr, ended: { kind: 'exit', code, signal: null } });
    expect(error.message).toContain(problem);
    expect(error.failure).toMatchObject({ step: 'start the agent', exitCode: code, undone: [] });
    expect(error.failure.next).not.toBe('');
    if (stderr !== '') expect(error.failure.evidence?.join('\n')).toContain(stderr.split('\n')[0]);
  });

  test.each([
    ['This account is currently not available.', 'deploy has no login shell'],
    ['This service allows sftp connections only.', 'runs a fixed command'],
    ['Welcome to Debian GNU/Linux 12!', 'without running `sudo -n python3`'],
  ])('stdout %j', (stdout, problem) => {
    const error = explain({ stdout });
    expect(error.message).toContain(problem);
    expect(error.failure.evidence).toEqual([`stdout: ${stdout}`]);
  });

  test('stderr takes precedence over stdout', () => {
    const error = explain({
      stdout: 'This account is currently not available.',
      stderr: 'sudo: a password is required',
    });
    expect(error.message).toContain('may not use sudo without a password');
  });

  test('a signal is named', () => {
    const error = explain({ ended: { kind: 'exit', code: null, signal: 'SIGKILL' } });
    expect(error.message).toContain('before it started (SIGKILL)');
  });

  test('output of a login script does not hide a timeout', () => {
    const ended = { kind: 'timed-out', seconds: 60 } as const;
    expect(explain({ ended, stdout: 'Welcome' }).message).toContain('did not start it within 60 s');
  });

  test('sudo is not mentioned to root', () => {
    const error = explain({ user: 'root', ended: { kind: 'exit', code: 127, signal: null } });
    expect(error.message).toContain('cannot run `python3`');
    expect(error.failure.ran).toEqual(['python3']);
  });
});
