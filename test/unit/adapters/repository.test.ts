import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { openRepository } from '../../../src/adapters/repository.ts';
import { makeTemporaryFolder } from '../../lib/temporary.ts';

function makeRepository(branch: string) {
  const root = makeTemporaryFolder();
  const git = (...words: readonly string[]) =>
    execFileSync('git', ['-C', root, '-c', 'user.name=a', '-c', 'user.email=a@localhost', ...words])
      .toString()
      .trim();
  git('init', '-q', '-b', branch);
  return { root, git };
}

const commit = ['commit', '-q', '--allow-empty', '-m', 'x'];

describe('the branch that is deployed', () => {
  test('of a repository without a commit is the one that the first will have', async () => {
    const { root } = makeRepository('trunk');
    expect((await openRepository(root)).branch).toBe('trunk');
  });

  test('is main, also while another one is checked out', async () => {
    const { root, git } = makeRepository('main');
    git(...commit);
    git('checkout', '-q', '-b', 'feature');
    expect((await openRepository(root)).branch).toBe('main');
  });

  test('is the default one of the remote', async () => {
    const { root, git } = makeRepository('main');
    git(...commit);
    git('update-ref', 'refs/remotes/origin/production', 'HEAD');
    git('symbolic-ref', 'refs/remotes/origin/HEAD', 'refs/remotes/origin/production');
    expect((await openRepository(root)).branch).toBe('production');
  });
});

test('knows its commits, and no other', async () => {
  const { root, git } = makeRepository('main');
  git(...commit);
  const repository = await openRepository(root);
  expect(await repository.hasCommit(git('rev-parse', 'HEAD'))).toBe(true);
  expect(await repository.hasCommit('ef905a6e144b2a43b2d4679c5c9dd5465d6b0475')).toBe(false);
  expect(await repository.hasCommit('--help')).toBe(false);
});

test('files are written at its top, also from below', async () => {
  const { root } = makeRepository('main');
  mkdirSync(join(root, 'backend'));
  const repository = await openRepository(join(root, 'backend'));
  expect(await repository.read('.github/fleet.yml')).toBeNull();
  await repository.write([{ path: '.github/fleet.yml', text: 'host: a\n' }]);
  expect(await repository.read('.github/fleet.yml')).toBe('host: a\n');
  expect(readdirSync(join(root, '.github'))).toEqual(['fleet.yml']);
});

test('if one file cannot be written, none is', async () => {
  const { root } = makeRepository('main');
  const repository = await openRepository(root);
  writeFileSync(join(root, 'a'), 'old\n');
  writeFileSync(join(root, 'b'), 'no folder\n');
  const files = [
    { path: 'a', text: 'new\n' },
    { path: 'b/c', text: 'new\n' },
  ];
  await expect(repository.write(files)).rejects.toThrow('cannot be written');
  expect(readFileSync(join(root, 'a'), 'utf8')).toBe('old\n');
  expect(readdirSync(root).sort()).toEqual(['.git', 'a', 'b']);
});

test('what is no regular file is refused', async () => {
  const { root } = makeRepository('main');
  mkdirSync(join(root, 'a'));
  await expect((await openRepository(root)).read('a')).rejects.toThrow('not a regular file');
});
