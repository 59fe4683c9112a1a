/** What the tests of the docs read in a Markdown page. */

import { headingSlug } from '../../tools/heading-slug.ts';

const fence = /^( *)```(\w*)[^\n]*\n([\s\S]*?)^\1```/gm;

/** The YAML snippets of a page, without the indentation of a list around them. */
export function yamlOf(page: string): string[] {
  return [...page.matchAll(fence)]
    .filter(([, , language = '']) => /^ya?ml$/.test(language))
    .map(([, indent = '', , text = '']) => text.replace(new RegExp(`^${indent}`, 'gm'), ''));
}

/** The lines of the snippet that has this text. Throws if there is none. */
export function snippetWith(page: string, part: string): string[] {
  const found = [...page.matchAll(fence)].find(([, , , text = '']) => text.includes(part));
  if (found?.[3] === undefined) throw new Error(`no snippet has ${part}`);
  return found[3].trimEnd().split('\n');
}

/** Every `uses` in parsed YAML, with the inputs that stand in `with` beside it. */
export function findUses(node: unknown): [uses: string, inputs: string[]][] {
  if (typeof node !== 'object' || node === null) return [];
  const { uses, with: given } = node as { uses?: unknown; with?: object | null };
  const own: [string, string[]][] =
    typeof uses === 'string' ? [[uses, Object.keys(given ?? {})]] : [];
  return [...own, ...Object.values(node).flatMap(findUses)];
}

/** The ids that links can name: those of headings, as GitHub makes them, and those of `<a id>`. */
export function anchorsOf(page: string): Set<string> {
  const text = page.replace(fence, '');
  const anchors = new Set<string>();
  for (const [, heading = ''] of text.matchAll(/^#{1,6} (.+)$/gm)) {
    const slug = headingSlug(heading.replace(/\[([^\]]*)\]\([^)]*\)/g, '$1'));
    let anchor = slug;
    for (let count = 1; anchors.has(anchor); count += 1) anchor = `${slug}-${count}`;
    anchors.add(anchor);
  }
  for (const [, id = ''] of text.matchAll(/<a (?:id|name)="([^"]+)"/g)) anchors.add(id);
  return anchors;
}
