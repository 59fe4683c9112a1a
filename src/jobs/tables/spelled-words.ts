import type { StoreTable } from '../../model/facts/store.ts';
import type { StatusWord } from '../../model/job-store.ts';
import { isSameEnd } from './job-words.ts';

/** How a column spells words that Celeriac writes in lower case: `FAILED`, `Failed`, `error`. */
export type SpelledWords = Readonly<Partial<Record<StatusWord, string>>>;

/** The only words that a column takes, by its enum or a CHECK; `null`: nothing says so. */
export const labelsOf = ({ columns }: StoreTable, column: string): readonly string[] | null =>
  columns.find(({ name }) => name === column)?.labels ?? null;

/**
 * The words of a status column that are spelled otherwise than Celeriac's, by its labels or else by its
 * rows. A word that no row has yet is spelled as the others are, unless one of them is in lower case.
 *
 * @param given the app's words of which `stores` says what they mean
 */
export function findSpelling(
  table: StoreTable,
  column: string,
  words: readonly StatusWord[],
  given: readonly string[] = [],
): SpelledWords {
  const labels = labelsOf(table, column);
  if (labels !== null) return spellByLabels(labels, words, given);
  const seen = (table.statuses ?? []).filter((status) => typeof status === 'string');
  const found = new Map<StatusWord, string>();
  for (const word of words) {
    const spelled = seen.find((status) => status.toLowerCase() === word);
    if (spelled !== undefined && !seen.includes(word)) found.set(word, spelled);
  }
  const [first] = found.values();
  if (first === undefined) return {};
  const mixed = words.some((word) => seen.includes(word));
  const like = mixed ? null : styleOf(first);
  const others = words.flatMap((word): readonly (readonly [StatusWord, string])[] =>
    like === null || found.has(word) ? [] : [[word, like(word)]],
  );
  return Object.fromEntries([...found, ...others]);
}

function styleOf(word: string): ((text: string) => string) | null {
  if (word === word.toUpperCase()) return (text) => text.toUpperCase();
  const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);
  return word === capital(word.toLowerCase()) ? capital : null;
}

/** A label that is another word for an end stands for it where it is the only one. */
function spellByLabels(
  labels: readonly string[],
  words: readonly StatusWord[],
  given: readonly string[],
): SpelledWords {
  const isGiven = (label: string): boolean =>
    given.some((each) => each.toLowerCase() === label.toLowerCase());
  const free = labels.filter((label) => !isGiven(label));
  const found: Partial<Record<StatusWord, string>> = {};
  for (const word of words) {
    if (labels.includes(word)) continue;
    const same = free.find((label) => label.toLowerCase() === word);
    const alike = free.filter((label) => isSameEnd(label, word));
    const label = same ?? (alike.length === 1 ? alike[0] : undefined);
    if (label !== undefined) found[word] = label;
  }
  return found;
}
