/** `batchLinks` and `BatchLinks` → `batch_links`. */
export const snakeOf = (name: string): string =>
  name
    .replace(/([\p{Ll}\d])(\p{Lu})/gu, '$1_$2')
    .replace(/(\p{Lu})(\p{Lu}\p{Ll})/gu, '$1_$2')
    .toLowerCase();

/** The words of a name: `core_VideoJobs2` → core, video, jobs. */
export const wordsOf = (name: string): readonly string[] =>
  snakeOf(name)
    .split(/[^\p{L}]+/u)
    .filter((word) => word !== '');

/** `batches` → `batch`, `batch_links` → `batch_link`, `queries` → `query`. */
export function singularOf(name: string): string {
  const snake = snakeOf(name);
  if (/ies$/.test(snake)) return snake.replace(/ies$/, 'y');
  if (/(?:ch|sh|s|x|z)es$/.test(snake)) return snake.replace(/es$/, '');
  return snake.replace(/(?<!s)s$/, '');
}

/** The first names; the others are only counted. */
export function listNames(names: readonly string[]): string {
  if (names.length === 0) return 'none';
  const shown = names.slice(0, 20).join(', ');
  return names.length > 20 ? `${shown} and ${names.length - 20} more` : shown;
}
