import type { AgentOptions } from '../adapters/agent/agent-options.ts';
import type { FactQuery } from '../model/facts.ts';
import type { Agent } from '../ports/agent.ts';
import type { CommandTools } from './command.ts';
import { notesOf } from './connection.ts';

/**
 * Connects. Interrupting a slow login takes effect at once.
 *
 * @param first what the first look will ask
 */
export async function openHost(
  options: AgentOptions,
  tools: CommandTools,
  first?: FactQuery,
): Promise<Agent> {
  const { terminal, interrupted } = tools;
  interrupted.throwIfAborted();
  for (const note of notesOf(options)) terminal.note(note);
  const opening = tools.openAgent({ ...options, first }, terminal.note);
  const aborted = new Promise<never>((_, reject) => {
    interrupted.addEventListener('abort', () => reject(interrupted.reason), { once: true });
  });
  try {
    return await Promise.race([opening, aborted]);
  } catch (error) {
    opening.then(
      (agent) => agent.close(),
      () => {},
    );
    throw error;
  }
}
