import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { supportDirectoryOf } from '../../../src/config/support-directory.ts';
import type { FactName } from '../../../src/model/facts.ts';
import { supportModuleText } from '../../../src/use-case/support-module.ts';
import { factsFolder, realFact } from '../../lib/real-facts.ts';
import { facts } from '../verify/facts.ts';
import { TerminalHost } from './terminal-host.ts';

const healthy = readFileSync(
  join(import.meta.dirname, '../plan/fixtures/deploy-worker/hosts/healthy.json'),
  'utf8',
);
const { files } = JSON.parse(healthy) as Record<string, unknown>;

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

/** A host with a worker that a deploy with `--concurrency 1` has nothing to change on. */
export function idleWorker(): TerminalHost {
  const host = worker();
  const folder = supportDirectoryOf(supportModuleText());
  // As this version of Celeriac has deployed it.
  const facts = JSON.parse(healthy.replaceAll('/usr/local/lib/celeriac', folder));
  facts.unit.fragment = regularFile(facts.unit.fragment.text);
  facts.files = { [`${folder}/celeriac_support.py`]: regularFile(supportModuleText()) };
  host.answers = { ...host.answers, ...facts, sampling: { sampling: true } };
  return host;
}

const regularFile = (text: string): object => ({
  kind: 'file',
  text,
  sha256: createHash('sha256').update(text).digest('hex'),
  sizeBytes: Buffer.byteLength(text),
  mode: '0644',
  owner: 'root',
  group: 'root',
});
