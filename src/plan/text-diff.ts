import { createTwoFilesPatch } from 'diff';

/**
 * The unified diff of one file; `''`: no difference.
 *
 * @param before the current text; `null`: there is no file
 * @param after the new text; `null`: the file will be removed
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
