import type { StoreTable } from '../../model/facts.ts';
import type { StatusWord } from '../../model/job-store.ts';

/** How a column spells words that Celeriac writes in lower case: `FAILED`, `Failed`. */
export type SpelledWords = Readonly<Partial<Record<StatusWord, string>>>;

/**
 * The words of a status column where they differ from Celeriac's in case alone. A word that no row has
 * yet is spelled as the others are, unless one of them is in lower case.
 */
export function findSpelling(table: StoreTable, words: readonly StatusWord[]): SpelledWords {
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
