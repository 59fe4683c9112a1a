import type { ColumnFit } from '../../model/job-store.ts';
import type { JobForest } from '../tables/job-forest.ts';
import type { TableMapping } from '../tables/mapping.ts';
import { beforeWords } from './fillings.ts';

/** Table → its columns of text in which the app keeps JSON. */
export type JsonTexts = ReadonlyMap<TableMapping, ReadonlySet<string>>;

/** Finds the columns for error messages whose every value is a JSON object or array. */
export function findJsonTexts({ rows }: JobForest): JsonTexts {
  const found = new Map<TableMapping, ReadonlySet<string>>();
  for (const [mapping, own] of Map.groupBy(rows, (row) => row.mapping)) {
    const { error } = mapping;
    if (error === null) continue;
    const texts = own.map(({ values }) => values[error] ?? '').filter((text) => text !== '');
    if (texts.length > 0 && texts.every(isJsonText)) found.set(mapping, new Set([error]));
  }
  return found;
}

const isJsonText = (value: unknown): boolean =>
  typeof value === 'string' && typeof (readJson(value) ?? '') === 'object';

/**
 * The message as its column takes it, before what the app said itself, which says more than that
 * the row was stuck; `null` where the column takes no text.
 *
 * @param before what the column holds
 * @param keepsJson whether the app keeps JSON in it, though its type does not say so
 */
export function fitMessage(
  message: string,
  before: unknown,
  { holds, longest }: ColumnFit,
  keepsJson = false,
): string | null {
  if (holds === 'other') return null;
  const earlier = typeof before === 'string' && before !== '' ? before : null;
  if (holds === 'json' || keepsJson) {
    const text = JSON.stringify(
      earlier === null ? { message } : { message, previous: readJson(earlier) ?? earlier },
    );
    // A part of it would be no JSON.
    return longest !== null && lengthOf(text) > longest ? null : text;
  }
  const text = earlier === null ? message : `${message}${beforeWords}${earlier}`;
  return longest === null ? text : [...text].slice(0, longest).join('');
}

/** Databases count characters, not UTF-16 code units. */
const lengthOf = (text: string): number => [...text].length;

function readJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
