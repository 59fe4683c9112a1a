import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { parseStores } from '../../../src/config/stores-input.ts';
import { howToInclude } from '../../../src/jobs/tables/include-table.ts';
import { doubtfulOf, jobTablesOf, judgeTables } from '../../../src/jobs/tables/job-tables.ts';
import { proposeMapping } from '../../../src/jobs/tables/mapping.ts';
import { ConfigError } from '../../../src/model/errors.ts';
import type { StoreColumn } from '../../../src/model/facts/store.ts';
import { AppDatabase, applyPlan, bySqlite, day, path, planFor } from './app-database.ts';

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

const isTime = ({ type }: StoreColumn): boolean => /DATE|TIME/i.test(type);

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

  test.each(files)('%s: what is shown of a skipped table includes it, copied', async (_, text) => {
    using database = new AppDatabase(text);
    const tables = database.tables();
    const doubtful = doubtfulOf(judgeTables(tables));
    const include = (stores: string, name: string): void => {
      const [spec] = parseStores(stores);
      expect(spec?.database).toBe(path);
      // A table with two parents asks which of them counts.
      const mapping = proposeMapping(path, tables, { [name]: { parent: null }, ...spec?.tables });
      expect(mapping.map(({ table }) => table)).toContain(name);
    };
    if (doubtful.length === tables.length || jobTablesOf(judgeTables(tables)).length === 0) {
      const error = await planFor(database).catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(ConfigError);
      const hint = howToInclude(path, doubtful);
      expect((error as ConfigError).expected).toContain(hint);
      const [, stores = ''] = /`stores`: (\[.*\])$/.exec(hint) ?? [];
      include(
        stores.replace('"TABLE"', JSON.stringify(doubtful[0]?.table.name)),
        doubtful[0]?.table.name ?? '',
      );
      return;
    }
    const lines = (await planFor(database)).mappings[0]?.lines ?? [];
    for (const { table } of doubtful) {
      const at = lines.findIndex((line) => line.startsWith(`skipped ${table.name}: `));
      expect(lines[at]).toMatch(/; to include it:$/);
      const shown = lines.slice(at + 1, at + 5);
      const workflow = parse(`with:\n${shown.join('\n')}\n`) as { with: { stores: string } };
      expect(Object.keys(workflow.with)).toEqual(['stores']);
      include(workflow.with.stores, table.name);
    }
  });

  test.each(files)('%s: no row of a table that holds no jobs changes', async (_, text) => {
    for (const action of ['fail', 'reset', 'delete', 'finalise'] as const) {
      using database = new AppDatabase(text);
      for (const { name, columns } of database.tables()) {
        // Everything began a day ago.
        for (const column of columns.filter(isTime))
          database.sql.exec(`UPDATE "${name}" SET "${column.name}" = '${bySqlite(day)}'`);
      }
      const job = jobTablesOf(judgeTables(database.tables())).map(({ name }) => name);
      for (const name of job) database.sql.exec(`UPDATE "${name}" SET status = 'processing'`);
      const others = database.tables().filter(({ name }) => !job.includes(name));
      const read = (): unknown =>
        others.map(({ name }) => database.sql.prepare(`SELECT * FROM "${name}"`).all());
      const before = read();
      if (job.length === 0) {
        await expect(planFor(database, { action })).rejects.toThrow(ConfigError);
        continue;
      }
      const cleanUp = await planFor(database, { action });
      // Without a time nobody knows how old a job is.
      const aged = database
        .tables()
        .some(({ name, columns }) => job.includes(name) && columns.some(isTime));
      if (action === 'fail') expect(cleanUp.repairs.length).toBe(aged ? 1 : 0);
      applyPlan(database, cleanUp);
      expect([action, read()]).toEqual([action, before]);
    }
  });
});
