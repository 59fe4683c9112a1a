import { deployWorkerDesired } from '../config/deploy-worker-desired.ts';
import type { Plan } from '../model/operation.ts';
import type { Outcome } from '../model/outcome.ts';
import { deployWorkerQuery } from '../plan/deploy/look.ts';
import type { Agent } from '../ports/agent.ts';
import { carryOut } from './carry-out.ts';
import { planAndLook } from './look-at-consuming.ts';
import { lookAtPrograms } from './look-at-programs.ts';
import { openRunCode } from './offer-code.ts';
import { refuseEnvironment } from './refuse-environment.ts';
import type { ActionRun } from './run.ts';
import { settleAbandoned } from './settle-abandoned.ts';
import { supportModuleText } from './support-module.ts';
import { tellRestart } from './tell-restart.ts';

/** What a deploy planned, and what became of it. */
export interface Deployed {
  readonly plan: Plan;
  /** `null`: nothing was applied. */
  readonly outcome: Outcome | null;
  /** Which run of the unit said that it takes its messages; absent: none did, or was asked. */
  readonly consumes?: string;
}

/**
 * Gives the host its worker, in one transaction that becomes a release; then settles the jobs that the
 * restart left behind, in another.
 *
 * @param then what is done over the same connection, before it is closed
 * @throws ConfigError, HostError when the release was not made; what becomes of the jobs changes nothing
 */
export async function deployWorker(
  run: ActionRun<'deploy-worker'>,
  then: (agent: Agent, deployed: Deployed) => Promise<void> = async () => {},
): Promise<Deployed> {
  const { inputs } = run;
  const desired = deployWorkerDesired(inputs, supportModuleText(), run.meta().holder);
  const { unit } = desired;
  const query = deployWorkerQuery(desired);
  await using agent = await run.openAgent(query);
  const facts = await lookAtPrograms(agent, await run.look(agent, query));
  const code = await openRunCode(desired.release, facts.release, run.meta().sha);
  const { plan, consuming } = await planAndLook(agent, facts, desired, code.offer);
  await refuseEnvironment(agent, plan);
  const release = { confirmWithinSeconds: inputs['confirm-within'] || null };
  const tell = (done: Outcome | null) => tellRestart(agent, plan, done);
  const begin = () => run.output('begun', 'true');
  const about = { subject: unit, unit, release, tell, begin };
  const outcome = await carryOut(run, agent, plan, { ...about, ...code.about });
  await settleAbandoned(run, agent, { plan, outcome }, desired);
  const invocation = facts.unit.properties.InvocationID;
  const deployed = {
    plan,
    outcome,
    // Its own report may be older than the message that it leaves: a verification asks it.
    ...(consuming?.kind === 'consumes' && invocation !== undefined && { consumes: invocation }),
  };
  await then(agent, deployed);
  return deployed;
}
