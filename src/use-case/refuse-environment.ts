import { ConfigError } from '../model/errors.ts';
import type { Plan } from '../model/operation.ts';
import type { Agent } from '../ports/agent.ts';

/**
 * Refuses to install into an environment that is not the app's, as the installation would, but before
 * anything is changed, and in a dry run.
 *
 * @throws ConfigError, HostError
 */
export async function refuseEnvironment(agent: Pick<Agent, 'look'>, plan: Plan): Promise<void> {
  const install = plan.operations.find((operation) => operation.op === 'install-dependencies');
  if (install === undefined) return;
  const { unit, user, interpreter } = install;
  const { environment } = await agent.look({ environment: { unit, user, interpreter } });
  if (environment !== null) {
    throw new ConfigError('input requirements', environment.problem, environment.fix);
  }
}
