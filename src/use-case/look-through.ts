import type { Agent } from '../ports/agent.ts';
import type { Run } from './run.ts';

/** The agent, whose looks go through the run: the first one tells what the host did alone. */
export const lookThrough = (
  run: Run,
  agent: Agent,
): Pick<Agent, 'look' | 'snapshot' | 'submit' | 'clockSkew'> => ({
  get clockSkew() {
    return agent.clockSkew;
  },
  look: (query) => run.look(agent, query),
  snapshot: (...asked) => agent.snapshot(...asked),
  submit: (...asked) => agent.submit(...asked),
});
