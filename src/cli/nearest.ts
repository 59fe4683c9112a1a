/**
 * The name that somebody most likely meant: the one with the fewest changes of a letter.
 *
 * @returns `null`: none is near
 */
export function nearest(word: string, names: readonly string[]): string | null {
  const ranked = names
    .map((name) => ({ name, changes: changesBetween(word, name) }))
    .sort((one, other) => one.changes - other.changes);
  const [best] = ranked;
  if (best === undefined) return null;
  const limit = Math.max(1, Math.floor(Math.min(word.length, best.name.length) / 3));
  return best.changes <= limit ? best.name : null;
}

/** Insertions, deletions, replacements and swapped neighbours (Damerau-Levenshtein). */
function changesBetween(one: string, other: string): number {
  let before: number[] = [];
  let last = Array.from({ length: other.length + 1 }, (_, column) => column);
  for (let row = 1; row <= one.length; row += 1) {
    const now = [row];
    for (let column = 1; column <= other.length; column += 1) {
      const same = one[row - 1] === other[column - 1] ? 0 : 1;
      const isSwap =
        row > 1 &&
        column > 1 &&
        one[row - 1] === other[column - 2] &&
        one[row - 2] === other[column - 1];
      now[column] = Math.min(
        at(last, column) + 1,
        at(now, column - 1) + 1,
        at(last, column - 1) + same,
        isSwap ? at(before, column - 2) + 1 : Number.POSITIVE_INFINITY,
      );
    }
    before = last;
    last = now;
  }
  return at(last, other.length);
}

const at = (line: readonly number[], column: number): number => line[column] ?? 0;
