import { programsToAskFor } from '../celery/app-process.ts';
import type { UnitFact } from '../model/facts/unit.ts';
import type { Agent } from '../ports/agent.ts';

/**
 * The facts with everything that decides which Python the worker has. A shell or a search path leads
 * to programs that only the unit's text shows: then the host is asked once more.
 */
export async function lookAtPrograms<Facts extends { readonly unit: UnitFact }>(
  agent: Pick<Agent, 'look'>,
  facts: Facts,
): Promise<Facts> {
  const programs = programsToAskFor(facts.unit);
  if (programs.length === 0) return facts;
  const { unit } = await agent.look({ unit: { name: facts.unit.name, programs } });
  const known = { ...unit.programs, ...facts.unit.programs };
  return { ...facts, unit: { ...facts.unit, programs: known } };
}
