import { redact } from '../systemd/secrets.ts';

/** A shorter value is part of too many words. */
const shortestSecret = 4;

/** `Authorization: Bearer …`, a cookie: to the end of the line. */
const header = /\b((?:proxy-)?authorization|(?:set-)?cookie)(["']?\s*[:=]\s*)\S[^\n]*/gi;

/** `'password': 'x'`, as logs show a dictionary. */
const entry =
  /((["'])[\w-]*(?:password|passwd|passphrase|secret|token|api[_-]?key|credentials?)\2\s*:\s*)(?:"(?:\\.|[^"\\\n])*"?|'(?:\\.|[^'\\\n])*'?|[^\s,}\]]+)/gi;

/**
 * The same value, without the given secrets in its texts, and without what looks like one. A report
 * is kept and passed on: the runner masks secrets in its log, but not in files.
 */
export function hideSecrets<Value>(value: Value, secrets: readonly string[]): Value {
  // The lines of a key may appear one by one.
  const words = secrets
    .flatMap((secret) => [secret, ...secret.split(/\r?\n/)])
    .map((word) => word.trim())
    .filter(
      (word) => word.length >= shortestSecret && !/^-----(?:BEGIN|END) [A-Z ]+-----$/.test(word),
    )
    .sort((one, other) => other.length - one.length);
  return hideIn(value, [...new Set(words)]);
}

function hideIn<Value>(value: Value, words: readonly string[]): Value {
  if (typeof value === 'string') return hideInText(value, words) as Value;
  if (Array.isArray(value)) return value.map((each) => hideIn(each, words)) as Value;
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [hideInText(key, words), hideIn(inner, words)]),
  ) as Value;
}

function hideInText(text: string, words: readonly string[]): string {
  const plain = words.reduce((left, word) => left.replaceAll(word, '***'), text);
  return redact(plain).replace(header, '$1$2***').replace(entry, '$1***');
}
