import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { FactName } from '../../../src/model/facts.ts';
import { factsFolder, realFact } from '../../lib/real-facts.ts';
import { facts } from '../verify/facts.ts';
import { TerminalHost } from './terminal-host.ts';

const { files } = JSON.parse(
  readFileSync(
    join(import.meta.dirname, '../plan/fixtures/deploy-worker/hosts/healthy.json'),
    'utf8',
  ),
) as Record<string, unknown>;

/** A host with a worker that a deploy changes. */
export function worker(): TerminalHost {
  const host = new TerminalHost();
  const known = new Set([...Object.keys(facts()), 'past', 'releases', 'transactions', 'undoing']);
  const more = ['logged', 'broker', 'consuming', 'stores', 'samples'];
  const names = readdirSync(factsFolder)
    .map((file) => file.replace('.json', '') as FactName)
    .filter((name) => !known.has(name) && !more.includes(name));
  host.answers = { ...Object.fromEntries(names.map((name) => [name, realFact(name)])), files };
  return host;
}
