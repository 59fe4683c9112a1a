import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { anchorsOf, findUses, yamlOf } from '../lib/markdown.ts';

const root = join(import.meta.dirname, '../..');
const tracked = execFileSync('git', ['ls-files', '*.md'], { cwd: root, encoding: 'utf8' });
const pages = tracked.split('\n').filter((path) => path !== '' && existsSync(join(root, path)));
const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  scripts: Record<string, string>;
};

it('has every npm script in the table for contributors', () => {
  const table = readFileSync(join(root, 'CONTRIBUTING.md'), 'utf8');
  const named = [...table.matchAll(/`npm (?:run )?([\w:-]+)/g)].map(([, name]) => name);
  expect(Object.keys(scripts).filter((name) => !named.includes(name))).toEqual([]);
});

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

describe.each(pages)('%s', (page) => {
  const text = readFileSync(join(root, page), 'utf8');

  it('links only to existing headings', () => {
    const links = [...text.matchAll(/\]\(((?!https?:)[^)#\s]*)#([^)\s]+)\)/g)];
    const missing = links.filter(([, file = '', anchor = '']) => {
      const target = file === '' ? join(root, page) : join(root, dirname(page), file);
      return target.endsWith('.md') && !anchorsOf(readFileSync(target, 'utf8')).has(anchor);
    });
    expect(missing.map(([link]) => link)).toEqual([]);
  });

  it('shows only YAML that parses, and inputs that exist', () => {
    const faults = yamlOf(text).flatMap((snippet) =>
      findUses(parse(snippet, { strict: true })).flatMap(([uses, given]) => {
        // This repository's, by whatever version; also as `./actions/name`.
        const own = /^(?:owner\/celeriac|\.)(\/actions\/[a-z-]+)?(?:@|$)/.exec(uses);
        if (own === null) return [];
        const file = join(root, own[1] ?? '', 'action.yml');
        const { inputs } = parse(readFileSync(file, 'utf8')) as { inputs: object };
        return given
          .filter((name) => !(name in inputs))
          .map((name) => `${uses} has no input ${name}`);
      }),
    );
    expect(faults).toEqual([]);
  });
});

describe('a page', () => {
  it('is searched for snippets in lists, too, and for all that they use', () => {
    const text = '1. a\n\n   ```yaml\n   - uses: a/b@v1\n     with: { host: x }\n   ```\n';
    const [snippet = ''] = yamlOf(text);
    expect(findUses(parse(snippet))).toEqual([['a/b@v1', ['host']]]);
    expect(findUses({ jobs: { a: { steps: [{ uses: 'c/d@v1' }] } } })).toEqual([['c/d@v1', []]]);
  });

  it('has the anchors that GitHub makes of its headings, and its own', () => {
    const text =
      '# A & b: `c-d`\n## Twice\n## Twice\n```\n# no heading\n```\n<a id="own"></a>\n### [Link](x.md)\'s';
    expect([...anchorsOf(text)]).toEqual(['a--b-c-d', 'twice', 'twice-1', 'links', 'own']);
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
