import { createHash } from 'node:crypto';
import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';

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
  // A line for each module, for those who compare two versions.
  const json = JSON.stringify(sources, null, 1);
  return { json, module: moduleOf(json, sources[supportModule] ?? '') };
}

const supportModule = 'support/celeriac_support.py';

function moduleOf(json: string, support: string): string {
  const build = createHash('sha256').update(json).digest('hex');
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
