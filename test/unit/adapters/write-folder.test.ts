import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { writeFolder } from '../../../src/adapters/write-folder.ts';
import { makeTemporaryFolder } from '../../lib/temporary.ts';

test('each call has a folder of its own, which others cannot read', () => {
  const inside = makeTemporaryFolder();
  const files = { 'a.txt': 'one\n', 'b.json': '{}' };
  const [one, other] = [writeFolder(inside, 'x', files), writeFolder(inside, 'x', files)];
  expect(one).not.toBe(other);
  expect(readdirSync(one).sort()).toEqual(['a.txt', 'b.json']);
  expect(readFileSync(join(one, 'a.txt'), 'utf8')).toBe('one\n');
  expect(statSync(one).mode & 0o077).toBe(0);
});

test('a name with signs that paths do not have stays below its parent', () => {
  const inside = makeTemporaryFolder();
  expect(writeFolder(inside, '../../celery@one.service', {})).toMatch(
    new RegExp(`^${inside}/\\.\\.-\\.\\.-celery@one\\.service-\\w+$`),
  );
});

test('it makes the parent, and fails where a file stands', () => {
  const inside = makeTemporaryFolder();
  expect(readdirSync(writeFolder(join(inside, 'new', 'deep'), 'x', { f: '' }))).toEqual(['f']);
  mkdirSync(join(inside, 'other'));
  writeFileSync(join(inside, 'other', 'file'), '');
  expect(() => writeFolder(join(inside, 'other', 'file'), 'x', {})).toThrow(/EEXIST|ENOTDIR/);
});
