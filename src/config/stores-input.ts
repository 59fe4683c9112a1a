import { z } from 'zod';
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
  /** `input stores, line 3`. */
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

const column = z.string().min(1).max(128);
const task = /^[A-Za-z_][A-Za-z0-9_.-]{0,199}$/;
const queue = /^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,127}$/;

const tableShape = z.strictObject({
  ignore: z.boolean().optional(),
  id: column.optional(),
  status: column.optional(),
  created: column.nullable().optional(),
  started: column.nullable().optional(),
  completed: column.nullable().optional(),
  updated: column.nullable().optional(),
  error: column.nullable().optional(),
  task: column.nullable().optional(),
  parent: z.strictObject({ table: column, column }).nullable().optional(),
  words: z
    .record(
      z.string().min(1),
      z.enum(['pending', 'processing', 'completed', 'partial', 'failed', 'cancelled']),
    )
    .optional(),
  resend: z
    .strictObject({
      task: z.string().regex(task, 'expected the name of a task such as tasks.process_link'),
      args: z.array(column).default([]),
      queue: z.string().regex(queue, 'expected the name of a queue').nullable().default(null),
    })
    .optional(),
});

const storesShape = z.array(
  z.strictObject({
    database: z
      .string()
      .refine(isDatabase, 'expected an absolute path, or a postgresql:// URL without a password'),
    tables: z.record(z.string(), tableShape).default({}),
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
  refuseTwice(stores);
  return stores;
}

function refuseTwice(stores: readonly StoreSpec[]): void {
  const seen = new Map<string, string>();
  for (const { database, where } of stores) {
    const name = canonical(database);
    const first = seen.get(name);
    if (first !== undefined) {
      const problem = `\`stores\` describes ${database} twice: first in ${first.replace(/^input stores, /, '')}`;
      throw new ConfigError(where, problem, 'each database once, with all its `tables`');
    }
    seen.set(name, where);
  }
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
