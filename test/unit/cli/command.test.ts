import { spawnSync } from 'node:child_process';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { AppDatabase, bySqlite, day } from '../jobs/app-database.ts';

const program = join(import.meta.dirname, '../../../cli/dist/index.js');

/** The committed program, with what a person types. */
function celeriac(...words: readonly string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...words], {
    encoding: 'utf8',
    timeout: 60_000,
  });
  return { code: status, out: stdout, err: stderr };
}

describe('celeriac, on this machine', () => {
  const look = ['--evidence', 'age', '--dry-run', '--app-user', userInfo().username];

  test('a dry run shows the plan, and changes nothing', () => {
    using database = new AppDatabase();
    database.add('jobs', { id: 'stuck-one', status: 'processing', created_at: bySqlite(day) });
    const before = database.content();
    const { code, out, err } = celeriac('cleanup', '--database', database.file, ...look);
    expect(code).toBe(3);
    expect(out).toMatch(/jobs +stuck-one +processing +failed/);
    expect(out).toContain('Dry run: 2 operations planned, nothing was changed.');
    expect(err).toContain('jobs: id: id; status: status; no parent');
    expect(database.content()).toEqual(before);
  });

  test('JSON output is one document', () => {
    using database = new AppDatabase();
    database.add('jobs', { id: 'stuck-one', status: 'processing', created_at: bySqlite(day) });
    const { code, out } = celeriac('cleanup', '--database', database.file, ...look, '--json');
    expect(code).toBe(3);
    expect(JSON.parse(out)).toMatchObject({
      found: 1,
      repaired: 0,
      result: null,
      rows: [{ database: database.file, table: 'jobs', id: 'stuck-one', becomes: 'failed' }],
    });
  });

  test('nothing to repair is a success', () => {
    using database = new AppDatabase();
    const { code, out } = celeriac('cleanup', '--database', database.file, ...look);
    expect(code).toBe(0);
    expect(out).toContain('nothing to repair');
  });

  test.each([
    [[], 2],
    [['--help'], 0],
    [['mend'], 2],
    [['cleanup', '--threshold', '0m'], 2],
    [['cleanup', '--database', '/srv/none.db', ...look], 2],
    [['cleanup', '--host', 'x', '--ssh-key-file', '/none'], 2],
  ])('%j ends with %i', (words, expected) => {
    const { code, err } = celeriac(...words);
    expect(code).toBe(expected);
    expect(err).not.toMatch(/^\s+at .*\(.*:\d+:\d+\)/m);
  });
});
