import { parseUnitFile } from './unit-file.ts';

/** Secrets that must not be logged: values of variables with telling names, passwords in URLs. */

const secretName =
  /(?:PASS(?:WORD|WD|PHRASE)?|SECRET|TOKEN|CREDENTIALS?|API_?KEY|PRIVATE_?KEY|ACCESS_?KEY|ENCRYPTION_?KEY|_KEY|_DSN)$/i;

/** Whether a variable of this name is likely to hold a secret. */
export const namesSecret = (name: string): boolean => secretName.test(name);

/**
 * The user and password of a URL: `redis://:secret@host`. Up to the last @ of the word: a password may
 * contain others, slashes and quotes.
 */
const urlPassword = /(\b[a-z][a-z0-9+.-]*:\/\/[^\s/@:"']*:)\S+(?=@)/gi;

/** The same, but not `http://host:80/path@x`. */
const certainPassword = /\b[a-z][a-z0-9+.-]*:\/\/[^\s/@:"']*:(?!\d{1,5}[/?#])\S+@/i;

/** Whether a text contains a URL with a password. */
export const holdsPassword = (text: string): boolean => certainPassword.test(text);

/** A URL without its query, which may hold a token. */
export const showUrl = (url: string): string => url.replace(/\?.*$/s, '?…');

/**
 * `"NAME=a b"`, whose quotes span the value, or `NAME=` with quoted parts, escapes and the rest. In
 * `Environment=NAME=value` the inner assignment counts.
 */
const assignment =
  /(["'])([A-Za-z_][A-Za-z0-9_]*)=(?!["']?[A-Za-z_][A-Za-z0-9_]*=)(?:\\.|[^\n\\])*?\1|\b([A-Za-z_][A-Za-z0-9_]*)=(?!["']?[A-Za-z_][A-Za-z0-9_]*=)(?:"(?:\\.|[^"\\\n])*"?|'(?:\\.|[^'\\\n])*'?|\\.|[^\s"'\\])+/g;

/** Replaces every recognized secret with `***`. */
export function redact(text: string): string {
  return text
    .replace(assignment, (whole: string, quote = '', quoted = '', bare = '') =>
      namesSecret(quoted || bare) ? `${quote}${quoted || bare}=***${quote}` : whole,
    )
    .replace(urlPassword, '$1***');
}

/** Redacts a unit file for display, including comments and values that span several lines. */
export function redactUnit(text: string): string {
  return parseUnitFile(text)
    .entries.map((entry) => {
      if (entry.kind !== 'assignment' || !/[\r\n]./.test(entry.raw)) return redact(entry.raw);
      const value = redact(entry.value);
      return value === entry.value ? entry.raw : `${entry.key}=${value}\n`;
    })
    .join('');
}
