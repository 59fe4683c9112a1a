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

/** A new id in the form of one that the column held. */
export function spellLike(id: string, example: StoreValue | undefined): string {
  if (typeof example !== 'string' || !isUuid(example)) return id;
  const text = example.includes('-') ? id : id.replaceAll('-', '');
  return example === example.toUpperCase() && example !== example.toLowerCase()
    ? text.toUpperCase()
    : text;
}
