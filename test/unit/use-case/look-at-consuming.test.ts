import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { workerCallOf } from '../../../src/celery/worker-call.ts';
import type { ConsumingFact } from '../../../src/model/facts/broker.ts';
import type { FactQuery, FactsFor } from '../../../src/model/facts.ts';
import { seconds } from '../../../src/model/units.ts';
import type { DeployWorkerFacts } from '../../../src/plan/deploy/look.ts';
import { planAndLook } from '../../../src/use-case/look-at-consuming.ts';
import { workerDesired } from '../../lib/worker-desired.ts';

const desired = workerDesired({
  unit: 'celery-worker.service',
  supportModule: { name: 'celeriac_support', text: '# the support module\n' },
});

/** A worker that is as asked. */
const healthy = (changes: Partial<DeployWorkerFacts['unit']> = {}): DeployWorkerFacts => {
  const path = join(import.meta.dirname, '../plan/fixtures/deploy-worker/hosts/healthy.json');
  const facts = JSON.parse(readFileSync(path, 'utf8')) as DeployWorkerFacts;
  return { ...facts, unit: { ...facts.unit, ...changes } };
};

async function deploy(facts: DeployWorkerFacts, consuming: ConsumingFact) {
  const asked: FactQuery[] = [];
  const agent = {
    async look<const Query extends FactQuery>(query: Query) {
      asked.push(query);
      return { consuming } as unknown as FactsFor<Query>;
    },
  };
  const { plan } = await planAndLook(agent, facts, desired, null);
  return { asked, plan, ops: plan.operations.map(({ op }) => op) };
}

const deaf: ConsumingFact = {
  kind: 'nothing',
  waiting: { celery: 3 },
  answers: false,
  seconds: seconds(14),
};

describe('a run with nothing to do', () => {
  test('restarts a worker that consumes nothing, and says why', async () => {
    const { plan, ops } = await deploy(healthy(), deaf);
    // As for any other reason: the app is tried, and the old worker drained before it stops.
    const order = ['try-app', 'drain-worker', 'stop-unit', 'start-unit', 'prove-unit'];
    expect(ops.filter((op) => order.includes(op))).toEqual(order);
    expect(plan.operations.find(({ op }) => op === 'start-unit')?.why).toBe(
      'it runs and consumes nothing: 3 messages wait in celery, and it did not answer for 14 s',
    );
  });

  test('also by what its support module says', async () => {
    const status = 'Consumes nothing: 3 messages waited for 120 s and it took none';
    expect((await deploy(healthy(), { kind: 'told', status })).ops).toContain('start-unit');
  });

  test('leaves a worker that consumes alone, and says that it looked', async () => {
    const { plan, asked } = await deploy(healthy(), { kind: 'consumes' });
    expect(plan.operations).toEqual([]);
    expect(plan.satisfied).toContain('consuming: no message is left waiting');
    expect(asked).toMatchObject([
      { consuming: { app: 'celery_app', forks: true, unit: 'celery-worker.service' } },
    ]);
  });

  test('asks no worker that has just reported that nothing waits', async () => {
    const { host, unit } = healthy();
    const at = Math.floor(host.monotonic) - 40;
    const queues = 'queues=4 waiting:a=0 waiting:b=0 waiting:c=0 waiting:d=0';
    const names = workerCallOf(unit, host.cpus)?.queues as readonly string[];
    const status = `Consuming from ${names.toSorted().join(', ')} [at=${at} active=0 processed=0 ${queues}]`;
    const properties = { ...unit.properties, StatusText: status };
    const { plan, asked } = await deploy(healthy({ properties }), deaf);
    expect(asked).toEqual([]);
    expect(plan.operations).toEqual([]);
    expect(plan.satisfied).toContain('consuming: no message waited 40 s ago, as it reports');
  });

  test('restarts nothing on a guess', async () => {
    const { plan } = await deploy(healthy(), { kind: 'unknown', problem: 'it is at work' });
    expect(plan.operations).toEqual([]);
    expect(plan.satisfied).toContain('consuming: unknown (it is at work)');
  });
});

test('a worker that will restart anyway is not asked', async () => {
  const { asked } = await deploy(healthy({ needDaemonReload: true }), deaf);
  expect(asked).toEqual([]);
});
