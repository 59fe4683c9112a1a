import { appProcessOf } from '../celery/app-process.ts';
import { consumingQuery, sawNothingWaiting } from '../celery/consuming.ts';
import { workerCallOf } from '../celery/worker-call.ts';
import type { DeployWorkerDesired } from '../config/deploy-worker-desired.ts';
import type { ConsumingNews } from '../model/facts/broker.ts';
import type { Plan } from '../model/operation.ts';
import type { CodeOffer } from '../model/release.ts';
import type { DeployWorkerFacts } from '../plan/deploy/look.ts';
import { planDeployWorker } from '../plan/deploy-worker.ts';
import type { Agent } from '../ports/agent.ts';

/** A plan, and the answer of the worker that it was made by; absent: it was not asked. */
export interface PlanByAnswer {
  readonly plan: Plan;
  readonly consuming?: ConsumingNews;
}

/**
 * The plan for a worker, which is also asked whether it takes its messages if the plan would leave it
 * running: for a deaf worker, there is something to do.
 *
 * @throws ConfigError as `planDeployWorker`
 */
export async function planAndLook(
  agent: Pick<Agent, 'look'>,
  facts: DeployWorkerFacts,
  desired: DeployWorkerDesired,
  offer: CodeOffer | null,
): Promise<PlanByAnswer> {
  const plan = planDeployWorker(facts, desired, offer);
  if (plan.operations.some(({ op }) => op === 'start-unit')) return { plan };
  const more = await lookAtConsuming(agent, facts, desired);
  if (more === null) return { plan };
  return { plan: planDeployWorker({ ...facts, ...more }, desired, offer), ...more };
}

/** From its own report, or else by asking it. `null`: the unit does not show how to ask, or does not run. */
async function lookAtConsuming(
  agent: Pick<Agent, 'look'>,
  { unit, host }: DeployWorkerFacts,
  desired: DeployWorkerDesired,
): Promise<{ readonly consuming: ConsumingNews } | null> {
  const app = appProcessOf(unit, {
    app: desired.app,
    supportDirectory: desired.supportDirectory,
  });
  if (app.kind !== 'known' || unit.activeState !== 'active') return null;
  const call = workerCallOf(unit, host.cpus);
  const query = consumingQuery(app.process, call);
  if (call === null || query === null) return null;
  // To ask it, the app would be imported: most of the time of a run that changes nothing.
  const ago = sawNothingWaiting(unit, host, call);
  if (ago !== null) return { consuming: { kind: 'reported', ago } };
  return agent.look({ consuming: query });
}
