import { existsSync, globSync, readFileSync, statSync } from 'node:fs';
import { join, posix } from 'node:path';

const entities: Readonly<Record<string, string>> = { amp: '&', quot: '"', lt: '<', gt: '>' };

const plain = (text: string): string =>
  text
    .replace(/&(amp|quot|lt|gt);/g, (_, name: string) => entities[name] ?? '')
    .replace(/&#(\d+);/g, (_, code: string) => String.fromCodePoint(Number(code)));

const attributes = (html: string, names: string): readonly string[] =>
  [...html.matchAll(new RegExp(`<[a-z][^>]*?\\s(?:${names})="([^"]*)"`, 'g'))].map(
    ([, value = '']) => plain(value),
  );

/** The file that a web server gives for a path: `/a/` is `a/index.html`, and `/a` is `a.html`. */
function fileOf(folder: string, path: string): string | undefined {
  const name = decodeURIComponent(path).replace(/^\//, '');
  const names = name === '' || name.endsWith('/') ? [`${name}index.html`] : [name, `${name}.html`];
  return names.find((each) => {
    const file = join(folder, each);
    return existsSync(file) && statSync(file).isFile();
  });
}

/** Every link within a folder of HTML pages whose page, file or anchor is not there, as `page: link`. */
export function deadLinks(folder: string): readonly string[] {
  const pages = globSync('**/*.html', { cwd: folder }).sort();
  const htmls = new Map(pages.map((page) => [page, readFileSync(join(folder, page), 'utf8')]));
  const anchors = new Map(
    [...htmls].map(([page, html]) => [page, new Set(attributes(html, 'id|name'))]),
  );
  return [...htmls].flatMap(([page, html]) =>
    [...new Set(attributes(html, 'href|src'))]
      .filter((link) => !/^(?:[a-z]+:|\/\/)/.test(link))
      .filter((link) => {
        const [path = '', anchor = ''] = link.split('#');
        const absolute = posix.join('/', posix.dirname(page), path);
        const file = path === '' ? page : fileOf(folder, path.startsWith('/') ? path : absolute);
        if (file === undefined) return true;
        return anchor !== '' && !(anchors.get(file)?.has(decodeURIComponent(anchor)) ?? false);
      })
      .map((link) => `${page}: ${link}`),
  );
}
