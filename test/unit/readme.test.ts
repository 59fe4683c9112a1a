import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';

const root = join(import.meta.dirname, '../..');
const tracked = execFileSync('git', ['ls-files', '*.md'], { cwd: root, encoding: 'utf8' });
const pages = tracked.split('\n').filter((path) => path !== '' && existsSync(join(root, path)));
const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  scripts: Record<string, string>;
};

describe.each(pages)('%s', (page) => {
  const text = readFileSync(join(root, page), 'utf8');

  it('names only existing npm scripts', () => {
    const named = [...text.matchAll(/\bnpm run ([a-z][a-z:-]*)/g)].map(([, name]) => name ?? '');
    expect(named.filter((name) => scripts[name] === undefined)).toEqual([]);
  });

  it('links only to existing files', () => {
    const links = [...text.matchAll(/\]\((?!https?:|#)([^)#\s]+)/g)].map(([, link]) => link ?? '');
    expect(links.filter((link) => !existsSync(join(root, dirname(page), link)))).toEqual([]);
  });
});

describe('README.md', () => {
  const text = readFileSync(join(root, 'README.md'), 'utf8');

  it('shows only valid sandbox commands', () => {
    const shown = [...text.matchAll(/npm run sandbox -- (\S+)/g)].map(([, verb]) => verb ?? '');
    const usage = execFileSync(process.execPath, [join(root, 'sandbox/cli.ts'), '--help'], {
      encoding: 'utf8',
    });
    expect(shown.length).toBeGreaterThan(0);
    expect(shown.filter((verb) => !usage.includes(`sandbox ${verb}`))).toEqual([]);
  });
});
