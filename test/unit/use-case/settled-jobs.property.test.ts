import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { TasksFact } from '../../../src/model/facts/broker.ts';
import { epochSeconds, seconds } from '../../../src/model/units.ts';
import { type AppDatabase, applyPlan, minute, now, planFor } from '../jobs/app-database.ts';
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
 * Random jobs after a restart half an hour ago, while other tasks are at work: by the rules said once
 * more and plainly. Nothing changes that another worker may own; what nobody can own does.
 */

const stop = { unit: 'celery-worker.service', at: epochSeconds(now - 30.5 * minute) };

/** Of whatever is asked for, some lives; and there is a task of which nobody knows whose it is. */
const tasks =
  (isBusy: boolean) =>
  (ids: readonly string[]): TasksFact => ({
    kind: 'told',
    worker: 'answers',
    held: ids.filter((id) => id.startsWith('held-')),
    owed: ids.filter((id) => id.startsWith('owed-')),
    holding: isBusy ? 1 : 0,
    waiting: 0,
    hidden: null,
  });

const isEnded = (status: string): boolean =>
  ['completed', 'failed', 'cancelled', 'partial'].includes(status);
const isLeaf = ({ children }: Node): boolean => children.length === 0;
const isLost = ({ task }: Node): boolean => task?.startsWith('lost-') === true;

/** It, something below it or a payment on any of these moved since the stop. */
const movedSince = (node: Node, payments: readonly Payment[]): boolean => {
  const all = [node, ...below(node)];
  return [...all, ...payments.filter((each) => all.includes(each.node))].some(
    ({ age }) => age <= 30,
  );
};

async function settle(
  seeds: readonly Seed[],
  business: Business,
  action: 'fail' | 'reset',
  isBusy: boolean,
) {
  const nodes = grow(seeds);
  const database = store(nodes, business.odd);
  addBusiness(database, nodes, business);
  const before = readBusiness(database);
  const confirmAfterSeconds = seconds(0);
  const wishes = { action, evidence: 'broker', orphans: false, confirmAfterSeconds } as const;
  applyPlan(database, await planFor(database, wishes, { tasks: tasks(isBusy) }, stop));
  return { nodes, database, payments: paymentsOf(business, nodes), before };
}

function statusesAfter(database: AppDatabase, nodes: readonly Node[]): Map<Node, string> {
  const statuses = database.statuses();
  return new Map(nodes.map((node) => [node, statuses[node.id] ?? 'deleted']));
}

const cases = (['fail', 'reset'] as const).flatMap((action) => [
  { action, numRuns: 24, options: { timeout: 90_000 } },
  { action, numRuns: 2000, options: { timeout: 1_200_000, tags: ['nightly'] } },
]);

for (const { action, numRuns, options } of cases) {
  test(
    `${action}, ${numRuns} forests: what may be owned stays, what is lost does not`,
    options,
    async () => {
      await fc.assert(
        fc.asyncProperty(forests, businesses, fc.boolean(), async (seeds, business, isBusy) => {
          const found = await settle(seeds, business, action, isBusy);
          const { nodes, database, payments, before } = found;
          using _ = database;
          expect(readBusiness(database)).toEqual(before);
          expect(findMisfits(database, business.odd)).toEqual([]);
          expect(database.sql.pragma('foreign_key_check')).toEqual([]);
          const after = statusesAfter(database, nodes);
          for (const node of nodes) {
            const became = after.get(node) ?? '';
            const told = `${node.id}: ${node.status} → ${became}`;
            if (became !== node.status) {
              expect([told, isEnded(node.status)]).toEqual([told, false]);
              expect([told, movedSince(node, payments)]).toEqual([told, false]);
              const open = [node, ...below(node)].filter(({ status }) => !isEnded(status));
              // Somebody else may work on whatever does not name a task that is gone.
              if (isBusy) {
                const known = open.filter(isLeaf).every(isLost);
                expect([told, known]).toEqual([told, true]);
              }
              const alive = open.some(({ task }) => task !== null && !task.startsWith('lost-'));
              expect([told, alive]).toEqual([told, false]);
            } else if (node.status === 'processing' && isLeaf(node) && isLost(node)) {
              expect([told, movedSince(node, payments)]).toEqual([told, true]);
            }
          }
        }),
        { numRuns },
      );
    },
  );
}
