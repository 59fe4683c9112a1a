/** The documentation as a site: `npm run site` writes it to site/dist. The pages are those of docs/. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, posix } from 'node:path';
import { defineConfig } from 'vitepress';
import { headingSlug } from '../../tools/heading-slug.ts';

const docs = join(import.meta.dirname, '..', '..', 'docs');
const { repository } = JSON.parse(readFileSync(join(docs, '..', 'package.json'), 'utf8')) as {
  repository: string;
};
const source = `https://github.com/${repository.replace('github:', '')}/blob/main`;

/** The first heading of a page. */
const titleOf = (path: string): string =>
  /^# (.+)$/m.exec(readFileSync(join(docs, path), 'utf8'))?.[1]?.replaceAll('`', '') ?? path;

const pagesOf = (folder: string) =>
  readdirSync(join(docs, folder))
    .filter((name) => name.endsWith('.md'))
    .sort()
    .map((name) => ({
      text: titleOf(`${folder}/${name}`),
      link: `/${folder}/${name.replace(/(?:README)?\.md$/, '')}`,
    }));

/**
 * A README is the page of its folder. Links to files that are no pages, such as ../SECURITY.md or a folder
 * without a README, lead to the repository.
 */
function addressOf(link: string, page: string): string {
  const [path = '', anchor] = link.split('#');
  if (path === '' || /^[a-z]+:/.test(path)) return link;
  const fragment = anchor === undefined ? '' : `#${anchor}`;
  const target = posix.normalize(posix.join('docs', posix.dirname(page), path));
  const isPage = (file: string): boolean =>
    file.startsWith('docs/') && file.endsWith('.md') && existsSync(join(docs, '..', file));
  const own = [target, posix.join(target, 'README.md')].find(isPage);
  if (own === undefined) return `${source}/${target}${fragment}`;
  return `${own.replace(/^docs/, '').replace(/README\.md$/, '')}${fragment}`;
}

/** The HTML that the pages use. */
const tags = /^<(?:\/?(?:a|br|img|picture|source|details|summary)\b|!--)/;

export default defineConfig({
  title: 'Celeriac',
  description: 'Keeps Celery workers healthy on servers you own, from GitHub Actions',
  // A copy that tools/site.ts makes: pages import Vue, which only this folder has.
  srcDir: 'pages',
  outDir: 'dist',
  cacheDir: '.cache',
  cleanUrls: true,
  vite: { esbuild: { tsconfigRaw: '{}' } },
  rewrites: { 'README.md': 'index.md', ':folder/:part/README.md': ':folder/:part/index.md' },
  themeConfig: {
    search: { provider: 'local' },
    nav: [
      { text: 'Tutorial', link: '/tutorial' },
      { text: 'Troubleshooting', link: '/troubleshooting' },
      { text: 'Repository', link: source.replace('/blob/main', '') },
    ],
    sidebar: [
      { text: titleOf('tutorial.md'), link: '/tutorial' },
      { text: 'How to', items: pagesOf('how-to') },
      { text: 'Explanation', items: pagesOf('explanation') },
      { text: 'Reference', items: pagesOf('reference') },
      { text: 'Rules of units', collapsed: true, items: pagesOf('reference/unit-rules') },
      { text: 'Decisions', collapsed: true, items: pagesOf('decisions') },
    ],
  },
  markdown: {
    // The pages link to each other's headings as GitHub names them.
    anchor: { slugify: headingSlug },
    config: (md) => {
      md.core.ruler.push('links-out', ({ tokens, env }) => {
        for (const token of tokens.flatMap(({ children }) => children ?? [])) {
          // `<unit>` in a sentence stands for a name.
          if (token.type === 'html_inline' && !tags.test(token.content)) token.type = 'text';
          const href = token.attrGet('href');
          if (token.type === 'link_open' && href !== null) {
            token.attrSet('href', addressOf(href, (env as { relativePath: string }).relativePath));
          }
        }
      });
    },
  },
});
