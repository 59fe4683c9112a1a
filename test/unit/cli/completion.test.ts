import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { commands } from '../../../src/cli/celeriac.ts';
import { completionScript, shells } from '../../../src/cli/completion-scripts.ts';
import { flagsOf } from '../../../src/cli/flags.ts';
import { makeTemporaryFolder } from '../../lib/temporary.ts';
import { TerminalHost } from './terminal-host.ts';

/** What bash offers after these words; the last one is being typed. */
function complete(...words: readonly string[]): readonly string[] {
  const script = `${completionScript('bash', commands)}
compopt() { :; }
COMP_WORDS=(celeriac "$@")
COMP_CWORD=$#
_celeriac
printf '%s\\n' "\${COMPREPLY[@]}"`;
  const { stdout, stderr } = spawnSync('bash', ['-c', script, 'bash', ...words], {
    encoding: 'utf8',
    cwd: import.meta.dirname,
  });
  expect(stderr).toBe('');
  return stdout.split('\n').filter((line) => line !== '');
}

describe('bash completes', () => {
  test('commands', () => {
    expect(complete('')).toEqual([...commands.map(({ name }) => name), '--help', '--version']);
    expect(complete('ro')).toEqual(['rollback']);
  });

  test('every flag of a command, and no other', () => {
    for (const command of commands) {
      const flags = flagsOf(command).map(({ name, isSwitch, fallback }) =>
        isSwitch && fallback === 'true' ? `--no-${name}` : `--${name}`,
      );
      expect(complete(command.name, '--')).toEqual([...flags, '--help'].sort());
    }
  });

  test('values from the tables of flags', () => {
    expect(complete('cleanup', '--action', 're')).toEqual(['reset']);
    expect(complete('verify', '--gate', '')).toEqual(['canary', 'task', 'http', 'none']);
    expect(complete('rollback', '--ssh-key-file', 'completion')).toEqual(['completion.test.ts']);
    expect(complete('rollback', '--port', '')).toEqual([]);
  });

  test('values after =, which bash splits into words', () => {
    expect(complete('cleanup', '--action', '=', 're')).toEqual(['reset']);
    expect(complete('verify', '--gate', '=')).toEqual(['canary', 'task', 'http', 'none']);
  });

  test('files, also with spaces, wherever a flag takes a path', () => {
    const folder = makeTemporaryFolder();
    writeFileSync(join(folder, 'my key'), '');
    for (const [command, flag] of [
      ['rollback', '--ssh-key-file'],
      ['init', '--repository'],
      ['deploy', '--fleet'],
    ] as const) {
      expect(complete(command, flag, join(folder, 'm'))).toEqual([join(folder, 'my key')]);
    }
  });

  test('shells', () => {
    expect(complete('completion', 'z')).toEqual(['zsh']);
  });
});

describe.each(shells)('the script for %s', (shell) => {
  test('is what the command prints, and names every command and flag', async () => {
    const { code, out } = await new TerminalHost().run('completion', shell);
    expect([code, out]).toEqual([0, completionScript(shell, commands)]);
    for (const command of commands) {
      expect(out).toMatch(new RegExp(`\\b${command.name}\\b`));
      for (const { name } of flagsOf(command)) expect(out).toContain(name);
    }
  });
});

test.each([[[]], [['tcsh']]])('completion %j says what it takes', async (words) => {
  const { code, err } = await new TerminalHost().run('completion', ...words);
  expect(code).toBe(2);
  expect(err).toContain('`celeriac completion bash|zsh|fish`');
});
