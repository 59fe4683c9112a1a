import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';

/**
 * The TypeScript module with the host program: the source of every Python module below `host/`,
 * except tests, by its path, sorted.
 */
export function packHost(root: string): string {
  const host = path.join(root, 'host');
  const modules = globSync('**/*.py', { cwd: host })
    .map((name) => name.split(path.sep).join('/'))
    .filter((name) => !isTest(name))
    .sort();
  const entries = modules.map((name) => {
    const text = readFileSync(path.join(host, name), 'utf8');
    return `  ${JSON.stringify(name)}: ${JSON.stringify(text)},\n`;
  });
  return [
    '// Generated from host/ by tools/generate.ts.\n',
    'export const hostProgram: Readonly<Record<string, string>> = {\n',
    ...entries,
    '};\n',
  ].join('');
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
