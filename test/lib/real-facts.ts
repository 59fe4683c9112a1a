import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { FactAnswers, FactName } from '../../src/model/facts.ts';

export const factsFolder = join(import.meta.dirname, '../fixtures/facts');

/** What a real host said first, then the kinds of this fact that it did not have. */
export function factSamples<Name extends FactName>(name: Name): readonly FactAnswers[Name][] {
  return JSON.parse(readFileSync(join(factsFolder, `${name}.json`), 'utf8'));
}

/** The fact of a real host. */
export function realFact<Name extends FactName>(name: Name): FactAnswers[Name] {
  const [fact] = factSamples(name);
  if (fact === undefined) throw new Error(`${name}.json has no sample`);
  return fact;
}
