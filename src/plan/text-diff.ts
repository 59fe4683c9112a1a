import { createTwoFilesPatch } from 'diff';

/**
 * The unified diff of one file, `''` when nothing differs.
 *
 * @param before the text as it is, `null` when the file is not there
 * @param after the text as it will be, `null` when the file will be gone
 */
export function unifiedDiff(path: string, before: string | null, after: string | null): string {
  if (before === after) {
    return '';
  }
  const from = before === null ? '/dev/null' : path;
  const to = after === null ? '/dev/null' : path;
  const patch = createTwoFilesPatch(from, to, before ?? '', after ?? '', undefined, undefined, {
    context: 3,
    headerOptions: { includeIndex: false, includeUnderline: false, includeFileHeaders: true },
  });
  return patch.replace(/\t$/gm, '').trimEnd();
}
