import path from 'node:path';
import { expect, test } from 'vitest';
import { openDatabase } from '../../../src/adapters/sqlite-native.ts';
import { makeTemporaryFolder } from '../../lib/temporary.ts';

function newFile(): string {
  return path.join(makeTemporaryFolder(), 'app.db');
}

test('one connection reads what another has written', () => {
  const file = newFile();
  const writer = openDatabase(file);
  writer.exec("CREATE TABLE jobs (id TEXT, status TEXT); INSERT INTO jobs VALUES ('a', 'queued')");
  writer.close();
  const reader = openDatabase(file, { readonly: true });
  expect(reader.prepare('SELECT * FROM jobs').all()).toEqual([{ id: 'a', status: 'queued' }]);
  expect(() => reader.exec('DELETE FROM jobs')).toThrow(/readonly/);
  reader.close();
});

test('a missing file is refused when it must exist', () => {
  expect(() => openDatabase(newFile(), { fileMustExist: true })).toThrow(/unable to open/);
});
