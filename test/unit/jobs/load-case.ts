import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { AppDatabase, now } from './app-database.ts';

/** A database of `test/fixtures/databases`, as it is when every test calls now. */
export function load(name: string): AppDatabase {
  const file = join(import.meta.dirname, '../../fixtures/databases', `${name}.sql`);
  const moment = new Date(now * 1000).toISOString().slice(0, 19).replace('T', ' ');
  const text = readFileSync(file, 'utf8').replaceAll("datetime('now'", `datetime('${moment}'`);
  return new AppDatabase(text);
}
