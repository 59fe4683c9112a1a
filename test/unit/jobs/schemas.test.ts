import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parseStores } from '../../../src/config/stores-input.ts';
import { jobTablesOf, judgeTables, yamlFor } from '../../../src/jobs/tables/job-tables.ts';
import { proposeMapping } from '../../../src/jobs/tables/mapping.ts';
import { AppDatabase, path } from './app-database.ts';

/**
 * Small schemas in the manner of frameworks. Behind the first line, which says what each is about,
 * stands what is found: `table: class, reason; child of another by column`.
 */

const folder = join(import.meta.dirname, '../../fixtures/schemas');
const files = readdirSync(folder).map((name) => [name, readFileSync(join(folder, name), 'utf8')]);

function findIn(database: AppDatabase): string[] {
  const verdicts = judgeTables(database.tables());
  const some = jobTablesOf(verdicts).length > 0;
  const mapping = some ? proposeMapping(path, database.tables()) : [];
  return verdicts.map(({ table: { name }, class: kind, reason }) => {
    const parent = mapping.find(({ table }) => table === name)?.parent;
    return `${name}: ${kind}, ${reason}${parent ? `; child of ${parent.table} by ${parent.column}` : ''}`;
  });
}

describe('the tables of jobs in schemas', () => {
  test.each(files)('%s', (_, text) => {
    const comments = text.split('\n').filter((line) => line.startsWith('-- '));
    using database = new AppDatabase(text);
    expect(findIn(database).toSorted()).toEqual(
      comments
        .slice(1)
        .map((line) => line.slice(3))
        .toSorted(),
    );
  });

  test.each(files)('%s: each skipped table is included once it is listed', (_, text) => {
    using database = new AppDatabase(text);
    for (const verdict of judgeTables(database.tables())) {
      const { name } = verdict.table;
      const [spec] = parseStores(yamlFor(path, name));
      expect(spec?.database).toBe(path);
      const mapping = proposeMapping(path, database.tables(), {
        [name]: { parent: null },
        ...spec?.tables,
      });
      expect(mapping.map(({ table }) => table)).toContain(name);
    }
  });
});
