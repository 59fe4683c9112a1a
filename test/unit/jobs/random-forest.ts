import fc from 'fast-check';
import { AppDatabase, byPython, bySqlite, minute } from './app-database.ts';

/** A row of the reference app, plainly. */
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
  { weight: 5, arbitrary: fc.constantFrom('pending', 'completed', 'failed', 'cancelled') },
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

/** The rows that seeds grow into, upper ones first. */
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

/** A database that holds them. */
export function store(nodes: readonly Node[]): AppDatabase {
  const database = new AppDatabase();
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

/** All rows below. */
export const below = (node: Node): Node[] =>
  node.children.flatMap((child) => [child, ...below(child)]);
