import { parseDocument } from 'yaml';

/** The deepest nesting that is accepted; parsers on the way recurse. */
const deepest = 20;

/**
 * Reads a JSON array that arrives as it was written.
 *
 * @returns `null` when the text is no such array, or JSON cannot send it: a number that overflows or
 * loses digits, text with half a surrogate pair, a duplicate key, deep nesting
 */
export function readJsonArray(text: string): readonly unknown[] | null {
  if (nesting(text) > deepest) return null;
  try {
    const value: unknown = JSON.parse(text, (_, each: unknown) => {
      if (!survives(each)) throw new RangeError('cannot be sent');
      return each;
    });
    return Array.isArray(value) && !hasDuplicateKeys(text) ? value : null;
  } catch {
    return null;
  }
}

/** An upper bound: brackets in strings count, too. */
function nesting(text: string): number {
  let depth = 0;
  let most = 0;
  for (const [sign] of text.replaceAll(/"(?:[^"\\]|\\.)*"/g, '').matchAll(/[[\]{}]/g)) {
    depth += sign === '[' || sign === '{' ? 1 : -1;
    most = Math.max(most, depth);
  }
  return most;
}

function survives(value: unknown): boolean {
  if (typeof value === 'string') return value.isWellFormed();
  if (typeof value === 'number') {
    return Number.isFinite(value) && (!Number.isInteger(value) || Number.isSafeInteger(value));
  }
  return (
    typeof value !== 'object' ||
    value === null ||
    Object.keys(value).every((key) => key.isWellFormed())
  );
}

/** JSON.parse silently keeps the last one. JSON is YAML, whose parser reports them. */
function hasDuplicateKeys(text: string): boolean {
  const { errors } = parseDocument(text, { uniqueKeys: true, logLevel: 'silent' });
  return errors.some(({ code }) => code === 'DUPLICATE_KEY');
}
