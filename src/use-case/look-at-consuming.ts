import { appProcessOf } from '../celery/app-process.ts';
import { consumingQuery } from '../celery/consuming.ts';
import { workerCallOf } from '../celery/worker-call.ts';
import type { DeployWorkerDesired } from '../config/deploy-worker-desired.ts';
import type { Plan } from '../model/operation.ts';
import type { DeployWorkerFacts } from '../plan/deploy/look.ts';
import type { Agent } from '../ports/agent.ts';

/**
 * Asks whether the running worker takes its messages, if the plan leaves it running: that of a deaf
 * worker must not be "nothing to do". Otherwise, and if the unit does not show how to ask, returns the
 * same facts.
 */
export async function lookAtConsuming(
  agent: Pick<Agent, 'look'>,
  facts: DeployWorkerFacts,
  desired: DeployWorkerDesired,
  plan: Plan,
): Promise<DeployWorkerFacts> {
  const { unit, host } = facts;
  if (plan.operations.some(({ op }) => op === 'start-unit')) return facts;
  const app = appProcessOf(unit, {
    app: desired.app,
    supportDirectory: desired.supportDirectory,
  });
  if (app.kind !== 'known' || unit.activeState !== 'active') return facts;
  const query = consumingQuery(app.process, workerCallOf(unit, host.cpus));
  if (query === null) return facts;
  return { ...facts, ...(await agent.look({ consuming: query })) };
}
