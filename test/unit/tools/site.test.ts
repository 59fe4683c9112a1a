import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { deadLinks } from '../../lib/site-links.ts';

const root = join(import.meta.dirname, '../../..');

// It installs VitePress, which nothing else needs.
test('the site has only live links, and begins with the tutorial', {
  tags: ['nightly'],
  timeout: 600_000,
}, () => {
  const words = ['--no-warnings', join(root, 'tools/site.ts')];
  execFileSync(process.execPath, words, { cwd: root, stdio: 'pipe', timeout: 590_000 });
  const dist = join(root, 'site/dist');
  expect(deadLinks(dist)).toEqual([]);
  const start = readFileSync(join(dist, 'index.html'), 'utf8');
  const links = [...start.matchAll(/<a\b[^>]*\shref="(\/[^"]*)"/g)].map(([, link]) => link);
  expect(links.slice(0, 2)).toEqual(['/', '/tutorial']);
  expect(links).toContain('/reference/unit-rules/');
});

test('a link is dead without its page, its file or its anchor', () => {
  const folder = mkdtempSync(join(tmpdir(), 'celeriac-site-'));
  const write = (name: string, html: string): void => {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), html);
  };
  write('style.css', '');
  write('index.html', '<a class="x" href="/a">a</a> <link href="/style.css"> <a href="/a#two">');
  write(
    'a.html',
    '<h2 id="one"> <a href="#one"> <a href="#two"> <a href="b/README"> <a href="b/">',
  );
  write(
    'b/index.html',
    '<a href="../a#one"> <a href="/c"> <a href="https://e.test/"> <img src="x.png">',
  );
  expect(deadLinks(folder)).toEqual([
    'a.html: #two',
    'a.html: b/README',
    'b/index.html: /c',
    'b/index.html: x.png',
    'index.html: /a#two',
  ]);
  rmSync(folder, { recursive: true });
});
