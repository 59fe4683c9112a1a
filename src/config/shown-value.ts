/**
 * How errors name what the user wrote. GitHub masks a secret only where it stands whole and unchanged,
 * so that nothing is ever cut or escaped, and what may be part of a secret is not repeated at all.
 */

/** An invalid value of an input that holds no secrets: whole, short and plain, or `''`. */
export const showValue = (text: string): string =>
  /^[A-Za-z0-9._/+,-](?:[A-Za-z0-9._/+, -]{0,58}[A-Za-z0-9._/+,-])?$/.test(text) ? `"${text}"` : '';

/**
 * An unknown key: only if it is, or resembles, a known one. Anything else may be part of a value whose
 * quotes are missing.
 */
export function describeKey(key: string, known: readonly string[], all = known): string {
  const [meant] = known
    .filter((name) => resembles(key, name))
    .sort((one, other) => distance(key, one) - distance(key, other));
  if (meant !== undefined) return `unknown key \`${key}\`; did you mean \`${meant}\`?`;
  return all.some((name) => resembles(key, name)) ? `unknown key \`${key}\`` : 'unknown key';
}

/** At most two letters are missing, added, changed, or one pair of them is swapped. */
function resembles(key: string, name: string): boolean {
  if (key === name) return true;
  return name.length >= 4 && Math.abs(key.length - name.length) <= 2 && distance(key, name) <= 2;
}

/** Levenshtein's. */
function distance(left: string, right: string): number {
  let row = Array.from({ length: right.length + 1 }, (_, at) => at);
  for (const [index, sign] of [...left].entries()) {
    const next = [index + 1];
    for (let at = 1; at <= right.length; at += 1) {
      const changed = (row[at - 1] ?? 0) + (sign === right[at - 1] ? 0 : 1);
      next.push(Math.min(changed, (row[at] ?? 0) + 1, (next[at - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[right.length] ?? 0;
}
