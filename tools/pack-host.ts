import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { loaderPath, programOf } from '../src/adapters/agent/agent-start.ts';

/** The host program, as it is carried beside a bundle and named in it. */
export interface PackedHost {
  /** JSON: the source of every Python module below `host/`, except tests, by its path, sorted. */
  readonly json: string;
  /** The TypeScript module that reads it when it is needed. */
  readonly module: string;
}

/** Reads the host program. */
export function packHost(root: string): PackedHost {
  const host = path.join(root, 'host');
  const modules = globSync('**/*.py', { cwd: host })
    .map((name) => name.split(path.sep).join('/'))
    .filter((name) => !isTest(name))
    .sort();
  const sources = Object.fromEntries(
    modules.map((name) => [name, readFileSync(path.join(host, name), 'utf8')]),
  );
  const support = sources[supportModule];
  for (const needed of [loaderPath, supportModule]) {
    if (sources[needed] === undefined) throw new Error(`host/ has no ${needed}`);
  }
  const { build, json } = programOf(sources);
  return { json: json(), module: moduleOf(build, support ?? '') };
}

const supportModule = 'support/celeriac_support.py';

function moduleOf(build: string, support: string): string {
  return [
    '// Generated from host/ by tools/generate.ts.',
    "import { readFileSync } from 'node:fs';",
    "import type { Sha256 } from '../model/units.ts';",
    '',
    "/** The agent's program, which is read only when it is sent. */",
    'export const hostProgram = {',
    `  build: '${build}' as Sha256,`,
    "  json: (): string => readFileSync(new URL('./host-program.json', import.meta.url), 'utf8'),",
    '};',
    '/** The module that a Celery worker loads. */',
    `export const supportModule = ${JSON.stringify(support)};`,
    '',
  ].join('\n');
}

function isTest(name: string): boolean {
  const parts = name.split('/');
  const file = parts.at(-1) ?? '';
  return (
    parts.includes('test') ||
    parts.includes('tests') ||
    file.startsWith('test_') ||
    file === 'conftest.py'
  );
}
