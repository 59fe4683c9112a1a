import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { CleanUpAction } from '../../../src/config/cleanup-desired.ts';
import type { CleanUp } from '../../../src/jobs/repair/clean-up-plan.ts';
import type { TasksFact } from '../../../src/model/facts/broker.ts';
import { type AppDatabase, applyPlan, planFor } from '../jobs/app-database.ts';
import {
  addBusiness,
  type Business,
  below,
  businesses,
  findMisfits,
  forests,
  grow,
  type Node,
  type Payment,
  paymentsOf,
  readBusiness,
  type Seed,
  store,
} from '../jobs/random-forest.ts';

/**
 * Random jobs, batches, links and variations of the reference app, with random tasks of which some
 * live, beside orders, payments and users that hang on them in random ways, against the rules said
 * once more and plainly: no index, no cache, no plan.
 */

const threshold = 30;

const tasks = (ids: readonly string[]): TasksFact => ({
  kind: 'told',
  worker: 'answers',
  held: ids.filter((id) => id.startsWith('held-')),
  owed: ids.filter((id) => id.startsWith('owed-')),
  holding: 0,
  waiting: 0,
  hidden: null,
});

// --- the rules, plainly -------------------------------------------------------------------------

const isEnded = (status: string): boolean =>
  ['completed', 'failed', 'cancelled', 'partial'].includes(status);

/** What a parent becomes, by its rows alone: in an app that uses the word, or does not. */
function endOf(ends: readonly string[], nodes: readonly Node[]): string {
  if (!ends.some((status) => ['completed', 'partial'].includes(status))) return 'failed';
  if (ends.every((status) => status === 'completed')) return 'completed';
  return nodes.some(({ status }) => status === 'partial') ? 'partial' : 'completed';
}

/** The statuses that a parent may have when it ends: by its rows, or by its mirror. */
function endsOf(node: Node, nodes: readonly Node[], now: Map<Node, string>): readonly string[] {
  const after = node.children.map((child) => now.get(child) ?? '');
  const left = after.filter((status) => status !== 'deleted');
  const own = left.every(isEnded) ? [endOf(left, nodes)] : [];
  const upper = node.table === 'batches' && node.parent ? [node.parent.status] : [];
  const lower = node.table === 'jobs' ? node.children.map(({ status }) => status) : [];
  return [...own, ...[...upper, ...lower].filter(isEnded)];
}

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

/** What is below, and payments that hang on any of it, count as much as the row itself. */
function isFresh(node: Node, payments: readonly Payment[]): boolean {
  const top = mirrorOf(node) ?? node;
  const all = [top, ...below(top)];
  return [...all, ...payments.filter((each) => all.includes(each.node))].some(
    ({ age }) => age <= threshold,
  );
}

type IsDead = (node: Node) => boolean;

const deadBy =
  (payments: readonly Payment[]): IsDead =>
  (node) =>
    node.status === 'processing' && !isFresh(node, payments) && !lives(node);

/**
 * All work below it has ended, before the clean-up or by it, and there is a payment on it, or on its
 * mirror, that has not.
 */
function waitsForOthers(
  node: Node,
  payments: readonly Payment[],
  statusOf = ({ status }: Node): string => status,
): boolean {
  const isParent = ({ children }: Node): boolean => children.length > 0;
  const hasEnded = (each: Node): boolean => isEnded(statusOf(each)) || statusOf(each) === 'deleted';
  const done = below(node).every((each) => hasEnded(each) || isParent(each));
  const chain = [node, ...below(node).filter((each) => !hasEnded(each))];
  const all = [...chain, ...chain.map(mirrorOf)];
  const open = payments.filter(({ status }) => ['pending', 'processing'].includes(status));
  const above = node.parent !== null && waitsForOthers(node.parent, payments, statusOf);
  return isParent(node) && (above || (done && open.some((each) => all.includes(each.node))));
}

/** To delete it, or what is dead above it, would take a payment along or fail. */
function isHeld(node: Node, payments: readonly Payment[], isDead: IsDead): boolean {
  for (let at: Node | null = node; at !== null; at = at.parent) {
    const top = mirrorOf(at) ?? at;
    const all = [top, ...below(top)];
    if (isDead(at) && payments.some((each) => all.includes(each.node))) return true;
  }
  return false;
}

// --- what must hold -----------------------------------------------------------------------------

function after(database: AppDatabase, nodes: readonly Node[]): Map<Node, string> {
  const statuses = database.statuses();
  return new Map(nodes.map((node) => [node, statuses[node.id] ?? 'deleted']));
}

const actions = ['fail', 'reset', 'delete', 'finalise'] as const;
const cases = [
  ...actions.map((action) => ({ action, numRuns: 24, options: { timeout: 90_000 } })),
  ...actions.map((action) => ({
    action,
    numRuns: 2000,
    options: { timeout: 1_200_000, tags: ['nightly'] },
  })),
];

async function clean(seeds: readonly Seed[], business: Business, action: CleanUpAction) {
  const nodes = grow(seeds);
  const database = store(nodes, business.odd);
  addBusiness(database, nodes, business);
  const before = readBusiness(database);
  const wishes = { action, evidence: 'broker' } as const;
  const cleanUp = await planFor(database, wishes, { tasks });
  applyPlan(database, cleanUp);
  const payments = paymentsOf(business, nodes);
  return { nodes, database, payments, before, cleanUp, now: after(database, nodes) };
}

/** No row of which it is told that it is skipped is in the plan. */
function checkNotices({ plan, repairs }: CleanUp, nodes: readonly Node[]): void {
  const told = plan.findings
    .map(({ message }) => message)
    .filter((message) => message.startsWith('skipped'))
    .join('\n');
  const planned = new Set(repairs.flatMap(({ rows }) => rows.map(({ id }) => id)));
  for (const { table, id } of nodes) {
    if (planned.has(id)) expect(`${told} `).not.toMatch(`${table} ${id}[,:; ]`);
  }
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
    test('no live row is changed, no stuck row is missed, all counters are right', async () => {
      await fc.assert(
        fc.asyncProperty(forests, businesses, async (seeds, business) => {
          const found = await clean(seeds, business, action);
          const { nodes, database, payments, before, cleanUp, now } = found;
          using _ = database;
          expect(readBusiness(database)).toEqual(before);
          expect(findMisfits(database, business.odd)).toEqual([]);
          checkNotices(cleanUp, nodes);
          const isDead = deadBy(payments);
          const mayStay = (node: Node): boolean =>
            waitsForOthers(node, payments) ||
            waitsForOthers(node, payments, (each) => now.get(each) ?? '') ||
            (action === 'delete' && business.key !== 'by name' && isHeld(node, payments, isDead));
          for (const node of nodes) {
            const became = now.get(node) ?? '';
            const told = `${node.id}: ${node.status} → ${became}`;
            if (lives(node) && !isEnded(node.status))
              expect([told, became]).toEqual([told, node.status]);
            // Nobody undoes or deletes what has ended.
            if (isEnded(node.status)) expect([told, became]).toEqual([told, node.status]);
            if (action !== 'finalise' && isDead(node) && !mayStay(node))
              expect([told, became]).not.toEqual([told, 'processing']);
            if (became === node.status) continue;
            if (node.children.length > 0 && isEnded(became)) {
              expect([told, isFresh(node, payments)]).toEqual([told, false]);
              const isEnd = endsOf(node, nodes, now).includes(became) || isCutShort(node, now);
              expect([told, isEnd]).toEqual([told, true]);
            }
            expect([told, isChangeable(node, now, isDead)]).toEqual([told, true]);
          }
          checkInvariants(nodes, database, now);
        }),
        { numRuns },
      );
    });

    test('an immediate second clean-up finds nothing', async () => {
      await fc.assert(
        fc.asyncProperty(forests, businesses, async (seeds, business) => {
          const { database } = await clean(seeds, business, action);
          using _ = database;
          const again = await planFor(database, { action, evidence: 'broker' }, { tasks });
          expect(again.repairs.flatMap(({ rows }) => rows)).toEqual([]);
        }),
        { numRuns: numRuns / 2 },
      );
    });
  });
}

/** It is unfinished below a row that has ended: nobody is to go on with it. */
const isCutShort = (node: Node, now: Map<Node, string>): boolean =>
  ['failed', 'cancelled'].includes(now.get(node) ?? '') &&
  node.parent !== null &&
  isEnded(now.get(node.parent) ?? '');

/** Dead itself, unfinished below what is dead, its mirror, or a parent that waits for nothing. */
function isChangeable(node: Node, now: Map<Node, string>, isDead: IsDead): boolean {
  if (isDead(node)) return true;
  const [only, ...others] = node.children;
  if (only && others.length === 0 && mirrorOf(only) === node && isDead(only)) return true;
  for (let above = node.parent; above !== null; above = above.parent) {
    if (isDead(above)) return true;
  }
  if (mirrorOf(node) && isDead(mirrorOf(node) ?? node)) return true;
  const left = node.children.filter((child) => now.get(child) !== 'deleted');
  return left.length > 0 && left.every((child) => isEnded(now.get(child) ?? ''));
}
