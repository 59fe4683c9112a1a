import fc from 'fast-check';
import { AppDatabase, byPython, bySqlite, minute, schema } from './app-database.ts';

/** A row of the reference app. */
export interface Node {
  readonly table: string;
  readonly id: string;
  readonly status: string;
  /** Minutes since its last sign of life. */
  readonly age: number;
  readonly task: string | null;
  readonly parent: Node | null;
  readonly children: Node[];
}

const tables = ['jobs', 'batches', 'batch_links', 'batch_variations'] as const;
const parentColumn = {
  batches: 'job_id',
  batch_links: 'batch_id',
  batch_variations: 'batch_link_id',
};

export interface Seed {
  readonly status: string;
  readonly age: number;
  readonly task: 'none' | 'lost' | 'held' | 'owed';
  readonly below: readonly Seed[];
}

const statusOf = fc.oneof(
  { weight: 5, arbitrary: fc.constant('processing') },
  {
    weight: 5,
    arbitrary: fc.constantFrom('pending', 'completed', 'failed', 'cancelled', 'partial'),
  },
);

/** A batch mostly mirrors its job; sometimes it lags behind. */
function seedOf(depth: number): fc.Arbitrary<Seed> {
  return fc.record({
    status: statusOf,
    age: fc.integer({ min: 1, max: 120 }),
    task: fc.constantFrom('none', 'lost', 'lost', 'held', 'owed'),
    below:
      depth === 0
        ? fc.constant([])
        : fc.array(seedOf(depth - 1), { maxLength: depth === 3 ? 2 : 3, size: 'max' }),
  });
}

export const forests = fc.array(seedOf(3), { minLength: 1, maxLength: 3 });

/** The rows that grow from seeds, parents first. */
export function grow(seeds: readonly Seed[]): Node[] {
  const all: Node[] = [];
  const plant = (seed: Seed, depth: number, parent: Node | null, path: string): void => {
    const table = tables[depth] ?? '';
    const mirrors = depth === 1 && parent?.children.length === 0;
    const node: Node = {
      table,
      id: `${table}-${path}`,
      status: mirrors ? (parent?.status ?? '') : seed.status,
      age: seed.age,
      // A batch has no column for it.
      task: seed.task === 'none' || depth === 1 ? null : `${seed.task}-${table}-${path}`,
      parent,
      children: [],
    };
    parent?.children.push(node);
    all.push(node);
    seed.below.forEach((below, index) => {
      plant(below, depth + 1, node, `${path}.${index}`);
    });
  };
  seeds.forEach((seed, index) => {
    plant(seed, 0, null, String(index));
  });
  return all;
}

type Table = (typeof tables)[number];

/** Orders, payments and users besides the jobs: above one table of jobs, and below another. */
export interface Business {
  /** The table of jobs whose rows reference an order. */
  readonly ordered: Table;
  /** The table of jobs that payments reference. */
  readonly paid: Table;
  /** By a foreign key with an action, or only by the name of the column. */
  readonly key: 'by name' | '' | 'ON DELETE CASCADE' | 'ON DELETE SET NULL';
  readonly payments: readonly {
    readonly status: string;
    /** Minutes since it changed. */
    readonly age: number;
    /** Which of the rows it references. */
    readonly at: number;
  }[];
  readonly orders: readonly string[];
  /** How the tables of jobs are odd: what their statuses and errors take, and more columns. */
  readonly odd: {
    readonly statuses: keyof typeof statusChecks;
    readonly errors: keyof typeof errorTypes;
    readonly columns: boolean;
  };
}

const words = "'pending', 'processing', 'completed', 'failed', 'cancelled'";
const checkOf = (labels: string): string => `CHECK (status IN (${labels}))`;
/** The app has the word `partial` if a row has it. */
const statusChecks = {
  text: () => '',
  enum: (nodes: readonly Node[]) =>
    checkOf(nodes.some(({ status }) => status === 'partial') ? `${words}, 'partial'` : words),
} as const;
const errorTypes = {
  text: 'TEXT',
  short: 'VARCHAR(20)',
  json: 'JSON',
  checked: 'TEXT CHECK (length(error_message) <= 30)',
  flag: 'BOOLEAN',
} as const;

/** What the host tells of it: nothing of a CHECK for words. */
function makeOdd(
  schema: string,
  { statuses, errors, columns }: Business['odd'],
  nodes: readonly Node[],
): string {
  const more = `"odd ""näme" TEXT DEFAULT 'it''s', twice TEXT AS (status || status), payload BLOB,`;
  return schema
    .replaceAll("status TEXT NOT NULL DEFAULT 'pending',", (text) =>
      [text.slice(0, -1), `${statusChecks[statuses](nodes)},`, columns ? more : ''].join(' '),
    )
    .replaceAll('error_message TEXT', `error_message ${errorTypes[errors]}`);
}

const businessStatus = fc.constantFrom('processing', 'pending', 'paid', 'completed', 'refunded');

export const businesses: fc.Arbitrary<Business> = fc.record({
  ordered: fc.constantFrom(...tables),
  paid: fc.constantFrom(...tables),
  key: fc.constantFrom('by name', '', 'ON DELETE CASCADE', 'ON DELETE SET NULL'),
  payments: fc.array(
    fc.record({
      status: businessStatus,
      age: fc.integer({ min: 1, max: 120 }),
      at: fc.nat({ max: 20 }),
    }),
    { maxLength: 6 },
  ),
  orders: fc.array(businessStatus, { minLength: 1, maxLength: 3 }),
  odd: fc.record({
    statuses: fc.constantFrom('text', 'enum'),
    errors: fc.constantFrom('text', 'short', 'json', 'checked', 'flag'),
    columns: fc.boolean(),
  }),
});

/** What a payment means for the rows that it references. */
export interface Payment {
  readonly node: Node;
  readonly age: number;
  readonly status: string;
}

/** The payments that reference a row; the others reference none. */
export function paymentsOf(business: Business, nodes: readonly Node[]): readonly Payment[] {
  const named = nodes.filter(({ table }) => table === business.paid);
  return business.payments.flatMap(({ at, age, status }) => {
    const node = named[at];
    return node === undefined ? [] : [{ node, age, status }];
  });
}

/** The content of the tables without jobs. */
export const readBusiness = ({ sql }: AppDatabase): unknown =>
  ['users', 'orders', 'invoices', 'payments'].map((table) =>
    sql.prepare(`SELECT * FROM ${table}`).all(),
  );

const nameOf = {
  jobs: 'job',
  batches: 'batch',
  batch_links: 'batch_link',
  batch_variations: 'batch_variation',
};

/** Besides the jobs: every order has a user, and each row of one table of jobs has an order. */
export function addBusiness(
  database: AppDatabase,
  nodes: readonly Node[],
  business: Business,
): void {
  const { ordered, paid, key, payments, orders } = business;
  const reference = key === 'by name' ? '' : `REFERENCES ${paid} (id) ${key}`;
  database.sql.exec(`
    CREATE TABLE users (id INTEGER PRIMARY KEY, status TEXT, created_at TEXT);
    CREATE TABLE orders (id INTEGER PRIMARY KEY, status TEXT, created_at TEXT,
      user_id INTEGER REFERENCES users (id) ON DELETE CASCADE);
    CREATE TABLE invoices (id INTEGER PRIMARY KEY, status TEXT, created_at TEXT,
      order_id INTEGER REFERENCES orders (id) ON DELETE CASCADE);
    CREATE TABLE payments (id INTEGER PRIMARY KEY, status TEXT, updated_at TEXT,
      order_id INTEGER REFERENCES orders (id) ON DELETE CASCADE, ${nameOf[paid]}_id TEXT ${reference});
    ALTER TABLE ${ordered} ADD COLUMN order_id INTEGER REFERENCES orders (id);
    INSERT INTO users VALUES (1, 'processing', '${bySqlite(120 * minute)}');`);
  orders.forEach((status, index) => {
    const created_at = bySqlite(120 * minute);
    database.add('orders', { id: index + 1, status, created_at, user_id: 1 });
    database.add('invoices', { id: index + 1, status, created_at, order_id: index + 1 });
  });
  database.sql.exec(`UPDATE ${ordered} SET order_id = 1`);
  const named = nodes.filter(({ table }) => table === paid);
  payments.forEach(({ status, age, at }, index) => {
    database.add('payments', {
      id: index + 1,
      status,
      updated_at: bySqlite(age * minute),
      order_id: 1,
      [`${nameOf[paid]}_id`]: named[at]?.id ?? null,
    });
  });
}

/** A database that contains them. */
export function store(nodes: readonly Node[], odd?: Business['odd']): AppDatabase {
  const database = new AppDatabase(odd === undefined ? schema : makeOdd(schema, odd, nodes));
  for (const node of nodes) {
    const { table, id, status, age, task, parent } = node;
    const column = parentColumn[table as keyof typeof parentColumn];
    const links = below(node).filter((each) => each.table === 'batch_links');
    database.add(table, {
      id,
      status,
      created_at: bySqlite(121 * minute),
      started_at: byPython(age * minute),
      ...(column === undefined ? {} : { [column]: parent?.id ?? null }),
      ...(table === 'batches' ? {} : { celery_task_id: task }),
      ...(table === 'jobs' || table === 'batches' ? { total_links: links.length } : {}),
      ...(table === 'jobs'
        ? {
            completed_links: links.filter((link) => link.status === 'completed').length,
            failed_links: links.filter((link) => link.status === 'failed').length,
          }
        : {}),
    });
  }
  return database;
}

/** The errors that do not fit into their columns. */
export function findMisfits({ sql }: AppDatabase, { errors }: Business['odd']): unknown[] {
  const fits = {
    text: 'TRUE',
    short: 'length(error_message) <= 20',
    json: 'json_valid(error_message)',
    checked: 'length(error_message) <= 30',
    flag: 'FALSE',
  };
  const wrong = `error_message IS NOT NULL AND NOT (${fits[errors]})`;
  return tables.flatMap((table) => sql.prepare(`SELECT * FROM ${table} WHERE ${wrong}`).all());
}

/** All rows below. */
export const below = (node: Node): Node[] =>
  node.children.flatMap((child) => [child, ...below(child)]);
