import type { IdForm } from '../../model/job-store.ts';
import type { StoreValue } from '../../model/store-row.ts';

/**
 * Celery's ids are UUIDs. Apps store them in several forms: with and without dashes, in upper case, as
 * bytes. They are compared in the form in which Celery writes them; other ids as they are.
 */

const uuid = /^\{?([0-9a-f]{8})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{12})\}?$/i;

/** Whether a text is a UUID, in any form. */
export const isUuid = (text: string): boolean => uuid.test(text.trim());

/** The id as Celery writes it: a UUID in lower case, with dashes. */
export function canonicalTask(id: string): string {
  const parts = uuid.exec(id.trim());
  return parts === null ? id : parts.slice(1).join('-').toLowerCase();
}

/** The id of a task in a column; `null`: there is none. */
export function readTask(value: StoreValue | undefined): string | null {
  const text = typeof value === 'object' && value?.opaque === 'blob' ? value.text : value;
  return typeof text === 'string' && text.trim() !== '' ? canonicalTask(text) : null;
}

/** Every form in which Celery may know a task: an app may give it an id of its own spelling. */
export function spellingsOf(task: string): readonly string[] {
  if (!isUuid(task)) return [task];
  const dashed = canonicalTask(task);
  const plain = dashed.replaceAll('-', '');
  return [dashed, plain, dashed.toUpperCase(), plain.toUpperCase()];
}

/** The form of UUIDs in columns of this type: `CHAR(32)` has no room for dashes, `bytea` holds no text. */
export function idFormOf(type: string): IdForm {
  if (/^\s*(?:(?:var|long)?(?:binary|raw)|(?:\w+)?blob|bytea|bytes)\b/i.test(type)) return 'binary';
  return /char\w*(?: varying)?\s*\(\s*3[2-5]\s*\)/i.test(type) ? 'plain' : 'dashed';
}

/** Whether a value shows in which form its column holds ids; an empty one, for instance, does not. */
export const isExample = (value: StoreValue | undefined): boolean =>
  isBinary(value) || (typeof value === 'string' && isUuid(value));

/** A BLOB, or how PostgreSQL writes a bytea. */
const isBinary = (value: StoreValue | undefined): boolean =>
  (typeof value === 'object' && value?.opaque === 'blob') ||
  (typeof value === 'string' && value.startsWith('\\x'));

/**
 * A new id in the form of the ids that its column holds; `null`: they are no text, and neither can be
 * a new one.
 *
 * @param example an id that `isExample`; without one, the type of the column decides
 * @param form of UUIDs in columns of that type
 */
export function spellLike(
  id: string,
  example: StoreValue | undefined,
  form: IdForm,
): string | null {
  if (isBinary(example)) return null;
  if (typeof example !== 'string') {
    if (form === 'binary') return null;
    return form === 'plain' ? id.replaceAll('-', '') : id;
  }
  const text = example.includes('-') ? id : id.replaceAll('-', '');
  return example === example.toUpperCase() && example !== example.toLowerCase()
    ? text.toUpperCase()
    : text;
}
