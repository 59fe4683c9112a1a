import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { CleanUpAction } from '../../../src/config/cleanup-desired.ts';
import type { TasksFact } from '../../../src/model/facts.ts';
import { type AppDatabase, applyPlan, planFor } from './app-database.ts';
import { below, forests, grow, type Node, type Seed, store } from './random-forest.ts';

/**
 * Random jobs, batches, links and variations of the reference app, with random tasks of which some
 * live, against the rules said once more and plainly: no index, no cache, no plan.
 */

const threshold = 30;

const tasks = (ids: readonly string[]): TasksFact => ({
  kind: 'told',
  worker: 'answers',
  held: ids.filter((id) => id.startsWith('held-')),
  owed: ids.filter((id) => id.startsWith('owed-')),
});

// --- the rules, plainly -------------------------------------------------------------------------

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

const actions = ['fail', 'reset', 'delete', 'finalise'] as const;
const cases = [
  ...actions.map((action) => ({ action, numRuns: 40, options: { timeout: 90_000 } })),
  ...actions.map((action) => ({
    action,
    numRuns: 2000,
    options: { timeout: 1_200_000, tags: ['nightly'] },
  })),
];

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

for (const { action, numRuns, options } of cases) {
  describe(`${action}, ${numRuns} forests`, options, () => {
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
        { numRuns },
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
        { numRuns: numRuns / 2 },
      );
    });
  });
}

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
