import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { factShapes } from '../../src/adapters/shapes/facts.ts';
import type { FactAnswers, FactName } from '../../src/model/facts.ts';

export const factsFolder = join(import.meta.dirname, '../fixtures/facts');

/** What a real host said first, then the kinds of this fact that it did not have. */
export function factSamples(name: FactName): readonly unknown[] {
  return JSON.parse(readFileSync(join(factsFolder, `${name}.json`), 'utf8'));
}

/** What a real host said. */
export function saidFact(name: FactName): unknown {
  const [fact] = factSamples(name);
  if (fact === undefined) throw new Error(`${name}.json has no sample`);
  return fact;
}

/** The fact of a real host, as it is read. */
export const realFact = <Name extends FactName>(name: Name): FactAnswers[Name] =>
  factShapes[name].parse(saidFact(name));

/** What `provision` asks for, of a host without a swap file that has room for one. */
export function factsForSwap(): Readonly<Record<string, unknown>> {
  return {
    past: realFact('past'),
    host: { ...realFact('host'), container: null },
    swap: {
      ...realFact('swap'),
      filesystem: { type: 'ext4', mountPoint: '/', sizeBytes: 64 * 2 ** 30, freeBytes: 2 ** 35 },
    },
    sysctl: { values: { 'vm.swappiness': '60' }, readOnly: [], settings: [] },
    files: {
      '/etc/sysctl.d/99-zz-celeriac.conf': { kind: 'absent' },
      '/': { kind: 'other', what: 'a directory' },
    },
  };
}
