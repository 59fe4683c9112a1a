/**
 * docs/troubleshooting.md: topics written by hand, each with the list of the errors that belong to
 * it, generated from the sources. A topic names the files whose errors it takes.
 */
import { createHash } from 'node:crypto';
import type { Message } from './source-messages.ts';

const from = /^<!-- errors of: (.*?) -->$/;
const end = '<!-- end of errors -->';

/**
 * The page with every list written anew.
 *
 * @throws Error naming the files whose errors have no topic, and the topics that take none
 */
export function withErrors(page: string, messages: readonly Message[]): string {
  const lines = page.split('\n');
  const topics = lines.flatMap((line) => from.exec(line)?.[1] ?? []);
  const patterns = topics.flatMap((topic) => topic.split(' '));
  const taken = Map.groupBy(messages, ({ file }) => longestMatch(file, patterns));
  refuseUnsorted(taken, patterns);
  const lists = new Map(
    topics.map((topic) => [
      topic,
      textsOf(topic.split(' ').flatMap((each) => taken.get(each) ?? [])),
    ]),
  );
  const slugs = [...lists.values()].flatMap((list) => list.map(([text]) => slugOf(text)));
  const shared = new Set(slugs.filter((slug, at) => slugs.indexOf(slug) !== at));
  const kept: string[] = [];
  let isList = false;
  for (const line of lines) {
    if (line === end) isList = false;
    if (isList) continue;
    kept.push(line);
    const topic = from.exec(line)?.[1];
    if (topic === undefined) continue;
    isList = true;
    kept.push('', ...listOf(topic, lists.get(topic) ?? [], shared), '');
  }
  if (isList) throw new Error(`troubleshooting: a list of errors lacks its line ${end}`);
  return kept.join('\n');
}

function longestMatch(file: string, patterns: readonly string[]): string | undefined {
  const matching = patterns.filter((pattern) => file.startsWith(pattern));
  return matching.toSorted((a, b) => b.length - a.length)[0];
}

function refuseUnsorted(
  taken: ReadonlyMap<string | undefined, readonly Message[]>,
  patterns: readonly string[],
): void {
  const [lost] = taken.get(undefined) ?? [];
  if (lost !== undefined) {
    throw new Error(
      `troubleshooting: no topic takes the errors of ${lost.file}, such as "${lost.text}"; name the file in a line <!-- errors of: … --> of docs/troubleshooting.md`,
    );
  }
  const idle = patterns.filter((pattern) => !taken.has(pattern));
  if (idle.length > 0) {
    throw new Error(`troubleshooting: no errors come from ${idle.join(', ')}`);
  }
}

/** Each text once, with its advice, by alphabet, so that a change of the code moves no other line. */
function textsOf(messages: readonly Message[]): (readonly [text: string, next: string])[] {
  const byText = new Map<string, string>();
  for (const { text, next } of messages) byText.set(text, byText.get(text) || next);
  return [...byText].toSorted(([a], [b]) => compare(a, b));
}

const listOf = (
  topic: string,
  texts: readonly (readonly [text: string, next: string])[],
  shared: ReadonlySet<string>,
): string[] =>
  texts.map(([text, next]) => {
    const slug = slugOf(text);
    // Where two errors begin alike, a number would change with the order of the page.
    const anchor = shared.has(slug)
      ? `${slug}-${shortHash(`${topic.split(' ')[0]} ${text}`)}`
      : slug;
    const advice = next === '' ? '' : ` → ${markdownOf(next)}`;
    return `- <a id="${anchor}"></a>${code(text)}${advice}`;
  });

const shortHash = (text: string): string =>
  createHash('sha256').update(text).digest('hex').slice(0, 6);

function compare(a: string, b: string): number {
  const [left, right] = [a, b].map((text) => text.replace(/[^a-zA-Z ]/g, '').toLowerCase());
  if (left === right) return a < b ? -1 : 1;
  return (left ?? '') < (right ?? '') ? -1 : 1;
}

/** Of the words that do not change. */
function slugOf(text: string): string {
  const words =
    text
      .replace(/<[^>]*>/g, '')
      .toLowerCase()
      .match(/[a-z0-9]+/g) ?? [];
  return `error-${words.slice(0, 9).join('-')}`;
}

/** As code, with as many backticks as the text requires. */
function code(text: string): string {
  if (!text.includes('`')) return `\`${text}\``;
  return text.includes('``') ? `\`\`\` ${text} \`\`\`` : `\`\` ${text} \`\``;
}

/** Outside of code, `<unit>` would be a tag. Code in the advice stays as it is. */
const markdownOf = (text: string): string =>
  text
    .split(/(`[^`]*`)/)
    .map((part, index) => (index % 2 === 1 ? part : part.replace(/[<>*|]/g, '\\$&')))
    .join('');
