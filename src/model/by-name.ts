/**
 * Records whose keys come from a database: a table or a column may be named `constructor` or
 * `__proto__`, which ordinary objects have already.
 */

/** A record without a prototype: it has its own keys, and no others. */
export function byName<T>(entries: Iterable<readonly [string, T]> = []): Record<string, T> {
  const record: Record<string, T> = Object.create(null);
  for (const [name, value] of entries) record[name] = value;
  return record;
}

/** The value under a key of its own. */
export const ownValue = <T>(
  record: Readonly<Record<string, T>> | undefined,
  name: string,
): T | undefined =>
  record !== undefined && Object.hasOwn(record, name) ? record[name] : undefined;
