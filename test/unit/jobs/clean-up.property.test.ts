import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { CleanUpAction } from '../../../src/config/cleanup-desired.ts';
import type { TasksFact } from '../../../src/model/facts.ts';
import { isLong } from '../../lib/long.ts';
import { AppDatabase, applyPlan, byPython, bySqlite, minute, planFor } from './app-database.ts';

/**
 * Random jobs, batches, links and variations of the reference app, with random tasks of which some
 * live, against the rules said once more and plainly: no index, no cache, no plan.
 */

const threshold = 30;

interface Node {
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

interface Seed {
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

const forests = fc.array(seedOf(3), { minLength: 1, maxLength: 3 });

function grow(seeds: readonly Seed[]): Node[] {
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

function store(nodes: readonly Node[]): AppDatabase {
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

const tasks = (ids: readonly string[]): TasksFact => ({
  kind: 'told',
  worker: 'answers',
  held: ids.filter((id) => id.startsWith('held-')),
  owed: ids.filter((id) => id.startsWith('owed-')),
});

// --- the rules, plainly -------------------------------------------------------------------------

const below = (node: Node): Node[] => node.children.flatMap((child) => [child, ...below(child)]);

const isEnded = (status: string): boolean => ['completed', 'failed', 'cancelled'].includes(status);

/** The job of a batch that is its only one. */
const mirrorOf = (node: Node): Node | null =>
  node.table === 'batches' && node.parent?.children.length === 1 ? node.parent : null;

function taskAt(node: Node | null): string | null {
  return node === null ? null : (node.task ?? taskAt(node.parent));
}

const isLiveTask = (task: string | null): boolean => task !== null && /^(?:held|owed)-/.test(task);

/** It, its mirror, or something unfinished below it has a task that lives. */
function lives(node: Node): boolean {
  const open = [mirrorOf(node), ...below(node)].filter((each) => each && !isEnded(each.status));
  return [node, ...open].some((each) => isLiveTask(taskAt(each)));
}

function isFresh(node: Node): boolean {
  const top = mirrorOf(node) ?? node;
  return [top, ...below(top)].some((each) => each.age <= threshold);
}

const isDead = (node: Node): boolean =>
  node.status === 'processing' && !isFresh(node) && !lives(node);

// --- what must hold -----------------------------------------------------------------------------

function after(database: AppDatabase, nodes: readonly Node[]): Map<Node, string> {
  const statuses = database.statuses();
  return new Map(nodes.map((node) => [node, statuses[node.id] ?? 'deleted']));
}

const runs = { numRuns: isLong ? 2000 : 40 };

async function clean(seeds: readonly Seed[], action: CleanUpAction) {
  const nodes = grow(seeds);
  const database = store(nodes);
  const wishes = { action, evidence: 'broker' } as const;
  applyPlan(database, await planFor(database, wishes, { tasks }));
  return { nodes, database, now: after(database, nodes) };
}

/** Counters, mirrors and keys are what the app makes of them. */
function checkInvariants(nodes: readonly Node[], database: AppDatabase, now: Map<Node, string>) {
  expect(database.sql.pragma('foreign_key_check')).toEqual([]);
  expect(database.sql.pragma('integrity_check', { simple: true })).toBe('ok');
  for (const job of nodes.filter(({ table }) => table === 'jobs')) {
    if (now.get(job) === 'deleted') continue;
    const links = below(job).filter((each) => each.table === 'batch_links');
    const count = (status: string): number =>
      links.filter((link) => now.get(link) === status).length;
    const row = database.row('jobs', job.id);
    expect([row?.completed_links, row?.failed_links]).toEqual([
      count('completed'),
      count('failed'),
    ]);
    const [only, ...others] = job.children;
    if (only !== undefined && others.length === 0) expect(now.get(only)).toBe(now.get(job));
  }
}

describe.each(['fail', 'reset', 'delete', 'finalise'] as const)(
  '%s',
  { timeout: isLong ? 1_200_000 : 60_000 },
  (action) => {
    test('no row that lives is changed, none that is dead is missed, all adds up', async () => {
      await fc.assert(
        fc.asyncProperty(forests, async (seeds) => {
          const { nodes, database, now } = await clean(seeds, action);
          using _ = database;
          for (const node of nodes) {
            const became = now.get(node) ?? '';
            const told = `${node.id}: ${node.status} → ${became}`;
            if (lives(node) && !isEnded(node.status))
              expect([told, became]).toEqual([told, node.status]);
            if (isEnded(node.status) && became !== node.status) {
              // Only with the whole of a tree whose upper row is dead.
              expect([told, action, became]).toEqual([told, 'delete', 'deleted']);
            }
            if (action !== 'finalise' && isDead(node))
              expect([told, became]).not.toEqual([told, 'processing']);
            if (became === node.status || isEnded(node.status)) continue;
            expect([told, isChangeable(node, now)]).toEqual([told, true]);
          }
          checkInvariants(nodes, database, now);
        }),
        runs,
      );
    });

    test('a second clean-up at once finds nothing more', async () => {
      await fc.assert(
        fc.asyncProperty(forests, async (seeds) => {
          const { database } = await clean(seeds, action);
          using _ = database;
          const again = await planFor(database, { action, evidence: 'broker' }, { tasks });
          expect(again.repairs.flatMap(({ rows }) => rows)).toEqual([]);
        }),
        { numRuns: runs.numRuns / 2 },
      );
    });
  },
);

/** Dead itself, unfinished below what is dead, its mirror, or a parent that waits for nothing. */
function isChangeable(node: Node, now: Map<Node, string>): boolean {
  if (isDead(node)) return true;
  const [only, ...others] = node.children;
  if (only && others.length === 0 && mirrorOf(only) === node && isDead(only)) return true;
  for (let above = node.parent; above !== null; above = above.parent) {
    if (isDead(above)) return true;
  }
  if (mirrorOf(node) && isDead(mirrorOf(node) ?? node)) return true;
  return node.children.length > 0 && node.children.every((child) => isEnded(now.get(child) ?? ''));
}
