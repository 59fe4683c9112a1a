import type { Database } from 'better-sqlite3';
import { byName } from '../model/by-name.ts';
import type { RowChange, SqlValue } from '../model/operation/jobs.ts';
import type { Rehearsal, StoreValue } from '../model/store-row.ts';
import { openDatabase } from './sqlite-native.ts';

/** Rows of a table as they are sent: one array of values each. */
export type RawRow = readonly StoreValue[];

/**
 * The copy of a SQLite database, which is foreign: its schema may be hostile, and reading it may take
 * any memory and time. Whoever opens it does so in a process that can be ended.
 */
export class SqliteCopy implements Disposable {
  readonly #database: Database;

  /** @throws SqliteError when it is not a SQLite database, or is damaged */
  constructor(path: string) {
    this.#database = openDatabase(path, { fileMustExist: true });
    try {
      // Its schema cannot be rewritten by SQL, nor its pages be changed as a table.
      this.#database.unsafeMode(false);
      // Its triggers, views and generated columns must not call functions with side effects.
      this.#database.pragma('trusted_schema = OFF');
      this.#database.pragma('foreign_keys = ON');
      // Of the schema, too: a damaged cell must not be read as if it were whole.
      this.#database.pragma('cell_size_check = ON');
      this.#database.pragma('mmap_size = 0');
      this.#database.prepare('SELECT count(*) FROM sqlite_master').get();
    } catch (error) {
      this.#database.close();
      throw error;
    }
  }

  /** Every row of a table: the values of these columns, in their order. */
  *readRows(table: string, columns: readonly string[]): Generator<RawRow> {
    const list = columns.map(quoteName).join(', ');
    const rows = this.#database
      .prepare(`SELECT ${list} FROM ${quoteName(table)}`)
      .safeIntegers()
      .raw()
      .iterate() as IterableIterator<unknown[]>;
    for (const row of rows) yield row.map(toStoreValue);
  }

  /** Column and some of its newest values. */
  sampleValues(table: string): readonly (readonly [string, readonly (string | number)[]])[] {
    const columns = this.#database.pragma(`table_info(${quoteName(table)})`) as { name: string }[];
    return columns.map(({ name }) => [name, this.#sample(table, name)]);
  }

  /** Its newest values; a table without row ids tells which are newest by nothing. */
  #sample(table: string, column: string): readonly (string | number)[] {
    const value = quoteName(column);
    const start = `SELECT CASE typeof(${value}) WHEN 'text' THEN substr(${value}, 1, 50) ELSE ${value} END
      FROM ${quoteName(table)} WHERE typeof(${value}) IN ('text', 'integer', 'real')`;
    for (const order of ['ORDER BY rowid DESC', '']) {
      try {
        return this.#database.prepare(`${start} ${order} LIMIT 50`).pluck().all() as (
          | string
          | number
        )[];
      } catch (error) {
        if (order === '') throw error;
      }
    }
    return [];
  }

  findDamage(): readonly string[] {
    try {
      const lines = this.#database.pragma('integrity_check(20)') as { integrity_check: string }[];
      return lines.map((line) => line.integrity_check).filter((line) => line !== 'ok');
    } catch (error) {
      return [messageOf(error)];
    }
  }

  rehearse(changes: readonly RowChange[]): Rehearsal {
    const before = this.#measure();
    const changed = byName<{ updated: number; deleted: number }>();
    const problems: string[] = [];
    const made = this.#changes();
    this.#database.exec('BEGIN IMMEDIATE');
    try {
      for (const change of changes) problems.push(...this.#compare(change));
      if (problems.length === 0) {
        for (const change of changes) this.#change(change, changed);
        this.#database.exec('COMMIT');
      }
    } catch (error) {
      problems.push(messageOf(error));
    }
    if (this.#database.inTransaction) this.#database.exec('ROLLBACK');
    if (problems.length === 0) problems.push(...this.#judge(before, changed));
    const own = Object.values(changed).reduce((sum, each) => sum + each.updated + each.deleted, 0);
    const more = this.#changes() - made - own;
    return { changed, problems, triggered: { rows: more, triggers: this.#triggersOf(changed) } };
  }

  /** Of this connection, those of triggers included. */
  #changes(): number {
    return this.#database.prepare('SELECT total_changes()').pluck().get() as number;
  }

  /** The triggers that run with these changes. */
  #triggersOf(
    changed: Readonly<Record<string, { readonly updated: number; readonly deleted: number }>>,
  ): readonly string[] {
    const all = this.#database
      .prepare("SELECT name, tbl_name AS on_, sql FROM sqlite_master WHERE type = 'trigger'")
      .all() as { name: string; on_: string; sql: string }[];
    return all
      .filter(({ on_, sql }) => {
        const [, made] = Object.entries(changed).find(([table]) => isSameName(table, on_)) ?? [];
        const event = /\b(DELETE|INSERT|UPDATE)\b(?:\s+OF\s[^;]*?)?\s+ON\s/i.exec(sql)?.[1];
        if (made === undefined || event === undefined) return false;
        return (
          (event.toUpperCase() === 'UPDATE'
            ? made.updated
            : event.toUpperCase() === 'DELETE'
              ? made.deleted
              : 0) > 0
        );
      })
      .map(({ name }) => name);
  }

  #compare(change: RowChange): string[] {
    const { table, key, id, seen, below = [] } = change;
    const name = `${table} ${id}`;
    const columns = Object.keys(seen);
    const values = Object.values(seen);
    const found = this.#count(table, [key, ...columns], [id, ...values]);
    const problems = found === 1 ? [] : [`${name}: ${found} rows match what was seen, expected 1`];
    for (const child of below) {
      const rows = this.#count(child.table, [child.column], [id]);
      if (rows !== child.rows) {
        problems.push(`${name}: ${rows} rows of ${child.table} below it, expected ${child.rows}`);
      }
    }
    return problems;
  }

  #count(table: string, columns: readonly string[], values: readonly SqlValue[]): number {
    const where = ['TRUE', ...columns.map((column) => `${quoteName(column)} IS ?`)].join(' AND ');
    const sql = `SELECT count(*) FROM ${quoteName(table)} WHERE ${where}`;
    return this.#database
      .prepare(sql)
      .pluck()
      .get(...values.map(bind)) as number;
  }

  #change(
    { table, key, id, change }: RowChange,
    changed: Record<string, { updated: number; deleted: number }>,
  ): void {
    if (change.kind === 'keep') return;
    const counts = changed[table] ?? { updated: 0, deleted: 0 };
    changed[table] = counts;
    if (change.kind === 'delete') {
      const sql = `DELETE FROM ${quoteName(table)} WHERE ${quoteName(key)} = ?`;
      counts.deleted += this.#database.prepare(sql).run(bind(id)).changes;
      return;
    }
    const columns = Object.keys(change.set);
    const list = columns.map((column) => `${quoteName(column)} = ?`).join(', ');
    const sql = `UPDATE ${quoteName(table)} SET ${list} WHERE ${quoteName(key)} = ?`;
    const values = Object.values(change.set).map(bind);
    counts.updated += this.#database.prepare(sql).run(...values, bind(id)).changes;
  }

  #judge(
    before: Measure,
    changed: Readonly<Record<string, { readonly deleted: number }>>,
  ): string[] {
    const after = this.#measure();
    const problems: string[] = [];
    for (const [table, rows] of before.rows) {
      const expected = rows - (changed[table]?.deleted ?? 0);
      const left = after.rows.get(table) ?? 0;
      if (left !== expected) {
        problems.push(
          `${table} would have ${left} rows, expected ${expected}: a trigger or a cascade of the database changes other rows`,
        );
      }
    }
    for (const [tie, count] of after.broken) {
      if (count > (before.broken.get(tie) ?? 0))
        problems.push(`rows would lose their parent: ${tie}`);
    }
    return [...problems, ...this.findDamage()];
  }

  #measure(): Measure {
    const tables = this.#database
      .prepare(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%'",
      )
      .pluck()
      .all() as string[];
    const rows = new Map(tables.map((table) => [table, this.#count(table, [], [])]));
    const broken = new Map<string, number>();
    for (const { table, parent } of this.#database.pragma('foreign_key_check') as BrokenKey[]) {
      const tie = `rows of ${table} that reference a missing row of ${parent}`;
      broken.set(tie, (broken.get(tie) ?? 0) + 1);
    }
    return { rows, broken };
  }

  [Symbol.dispose](): void {
    this.#database.close();
  }
}

interface Measure {
  /** Table → its rows. */
  readonly rows: ReadonlyMap<string, number>;
  /** Broken foreign keys, counted. */
  readonly broken: ReadonlyMap<string, number>;
}

interface BrokenKey {
  readonly table: string;
  readonly parent: string;
}

function toStoreValue(value: unknown): StoreValue {
  if (typeof value === 'bigint') {
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : { opaque: 'integer' };
  }
  if (value === null || typeof value === 'string' || typeof value === 'number') return value;
  return { opaque: 'blob', text: Buffer.isBuffer(value) ? readUuid(value) : null };
}

/** A UUID as its 16 bytes, or as text that was stored as a BLOB. */
function readUuid(blob: Buffer): string | null {
  if (blob.length === 16) return blob.toString('hex');
  const text = blob.length <= 38 ? blob.toString('latin1') : '';
  return /^[0-9a-f-]{32,36}$/i.test(text) ? text : null;
}

/** better-sqlite3 binds numbers as REAL; a bigint stays an integer, in a text column too. */
const bind = (value: SqlValue): SqlValue | bigint =>
  typeof value === 'number' && Number.isSafeInteger(value) ? BigInt(value) : value;

/** An identifier is data: quotes inside are doubled. */
const quoteName = (name: string): string => `"${name.replaceAll('"', '""')}"`;

const isSameName = (left: string, right: string): boolean =>
  left.toLowerCase() === right.toLowerCase();

const messageOf = (error: unknown): string =>
  error instanceof Error ? error.message : String(error);
