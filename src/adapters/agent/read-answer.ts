import type { z } from 'zod/mini';
import type { FactName, FactQuery, FactsFor } from '../../model/facts.ts';
import { factShapes } from '../shapes/facts.ts';
import { readShape } from '../shapes/read-shape.ts';
import { shapeError } from './agent-errors.ts';

/**
 * Reads the answer to a request.
 *
 * @throws HostError when it has another shape
 */
export function readAnswer<Type>(
  answer: unknown,
  shape: z.ZodMiniType<Type>,
  ask: string,
  step: string,
): Type {
  const reading = readShape(shape, answer);
  if (reading.kind === 'read') return reading.value;
  throw shapeError(step, `the agent's answer to '${ask}'`, reading.problem);
}

/**
 * Reads the facts that were asked for, and no others.
 *
 * @throws HostError when one of them is missing or has another shape
 */
export function readFacts<const Query extends FactQuery>(
  answer: unknown,
  query: Query,
  step: string,
): FactsFor<Query> {
  const facts = Object(answer) as Readonly<Record<string, unknown>>;
  const names = Object.keys(query) as FactName[];
  return Object.fromEntries(
    names.map((name) => [name, readFact(name, facts[name], step)]),
  ) as FactsFor<Query>;
}

function readFact(name: FactName, fact: unknown, step: string): unknown {
  const shape: z.ZodMiniType = factShapes[name];
  const reading = readShape(shape, fact);
  if (reading.kind === 'read') return reading.value;
  throw shapeError(step, `the agent's fact '${name}'`, reading.problem);
}
