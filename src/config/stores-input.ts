import { z } from 'zod/mini';
import { ConfigError } from '../model/errors.ts';
import type { Resend, StatusWord } from '../model/job-store.ts';
import { isDatabase } from './input.ts';
import { parsePostgresUrl } from './postgres-url.ts';
import { readYamlList } from './yaml-list.ts';

/** A job database as the user describes it, where its schema is not recognized. */
export interface StoreSpec {
  /** Path of a SQLite file, or a `postgresql://` URL without a password. */
  readonly database: string;
  /** By the table's name. */
  readonly tables: Readonly<Record<string, TableSpec>>;
  /** `input stores, line 3, column 3`. */
  readonly where: string;
}

/** Absent columns are found by the schema; `null`: there is no such column, or no parent. */
export interface TableSpec {
  /** These rows are not jobs. */
  readonly ignore?: boolean | undefined;
  readonly id?: string | undefined;
  readonly status?: string | undefined;
  readonly created?: string | null | undefined;
  readonly started?: string | null | undefined;
  readonly completed?: string | null | undefined;
  readonly updated?: string | null | undefined;
  readonly error?: string | null | undefined;
  readonly task?: string | null | undefined;
  readonly parent?: { readonly table: string; readonly column: string } | null | undefined;
  readonly words?: Readonly<Record<string, StatusWord>> | undefined;
  readonly resend?: Resend | undefined;
}

const column = z.string().check(z.minLength(1), z.maxLength(128));
const task = /^[A-Za-z_][A-Za-z0-9_.-]{0,199}$/;
const queue = /^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,127}$/;

const tableShape = z.strictObject({
  ignore: z.optional(z.boolean()),
  id: z.optional(column),
  status: z.optional(column),
  created: z.optional(z.nullable(column)),
  started: z.optional(z.nullable(column)),
  completed: z.optional(z.nullable(column)),
  updated: z.optional(z.nullable(column)),
  error: z.optional(z.nullable(column)),
  task: z.optional(z.nullable(column)),
  parent: z.optional(z.nullable(z.strictObject({ table: column, column }))),
  words: z.optional(
    z.record(
      z.string().check(z.minLength(1)),
      z.enum(['pending', 'processing', 'completed', 'partial', 'failed', 'cancelled']),
    ),
  ),
  resend: z.optional(
    z.strictObject({
      task: z
        .string()
        .check(z.regex(task, 'expected the name of a task such as tasks.process_link')),
      args: z._default(z.array(column), []),
      queue: z._default(
        z.nullable(z.string().check(z.regex(queue, 'expected the name of a queue'))),
        null,
      ),
    }),
  ),
});

/** The list as YAML. */
export const storesShape = z.array(
  z.strictObject({
    database: z
      .string()
      .check(
        z.refine(
          isDatabase,
          'expected an absolute path, or a postgresql:// URL without a password',
        ),
      ),
    tables: z._default(z.record(z.string(), tableShape), {}),
  }),
);

/**
 * Reads the input `stores`, a YAML list:
 *
 * ```yaml
 * - database: /srv/app/jobs.db
 *   tables:
 *     tasks:
 *       status: state
 *       words: { running: processing, error: failed }
 *       resend: { task: app.tasks.run, args: [id], queue: batch }
 * ```
 *
 * @throws ConfigError with the line and what is expected
 */
export function parseStores(text: string): readonly StoreSpec[] {
  const { items, at } = readYamlList(text, {
    input: 'stores',
    item: 'store',
    shape: storesShape,
    fields,
    expected:
      'a list of stores: `database`, and `tables` with id, status, created, started, completed, updated, error, task, parent, words, resend, ignore',
  });
  const stores = items.map((store, index) => ({ ...store, where: at([index]) }));
  const databases = stores.map(({ database }) => canonical(database));
  const again = databases.findIndex((each, index) => databases.indexOf(each) < index);
  const twice = stores[again];
  if (twice !== undefined) {
    const first = databases.indexOf(databases[again] ?? '') + 1;
    const second = again + 1;
    const problem = `\`stores\` describes ${twice.database} twice: in items ${first} and ${second}`;
    const expected = 'each database once, with all its `tables`';
    throw new ConfigError(at([again, 'database']), problem, expected);
  }
  return stores;
}

/** One text for all spellings of a URL, whoever logs in; without a name it is the user's database. */
function canonical(database: string): string {
  const url = parsePostgresUrl(database);
  if (url === null) return database;
  const options = [...url.options].map(([name, value]) => `${name}=${value}`).sort();
  const path = url.database ?? url.user ?? '';
  return `postgresql://${url.host ?? ''}:${url.port ?? 5432}/${path}?${options.join('&')}`;
}

/** Every name that a store may have; others are the user's. */
const fields: ReadonlySet<string> = new Set([
  ...['database', 'tables', 'table', 'column'],
  ...Object.keys(tableShape.shape),
  ...['task', 'args', 'queue'],
]);
