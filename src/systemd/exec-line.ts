/**
 * Command lines of Exec settings, parsed as systemd does (systemd.service(5), COMMAND LINES). Every
 * word has its position, so that one word can be changed and the rest of the line kept.
 */

export interface ExecWord {
  /** Unquoted and unescaped; `%` specifiers and `$` variables are kept as written. */
  readonly text: string;
  /** Position in the setting's value, including quotes. */
  readonly start: number;
  readonly end: number;
}

export interface ExecCommand {
  /** Some of `- @ : + ! |` before the program. */
  readonly prefixes: string;
  /** The program, without prefixes, first. */
  readonly words: readonly ExecWord[];
}

/**
 * The words of a value, unquoted; `null` for unbalanced quotes, which systemd rejects. Works for
 * every setting whose value is a list of quoted words, e.g. `Environment=`.
 */
export function splitWords(value: string): readonly ExecWord[] | null {
  const words: ExecWord[] = [];
  let at = 0;
  for (;;) {
    while (isSpace(value[at])) at += 1;
    if (at >= value.length) return words;
    const word = readWord(value, at);
    if (word === null) return null;
    words.push(word);
    at = word.end;
  }
}

/** The commands of one Exec setting; a lone `;` separates them. */
export function parseExecLine(value: string): readonly ExecCommand[] | null {
  const words = splitWords(value);
  if (words === null) return null;
  const commands: ExecWord[][] = [[]];
  for (const word of words) {
    const written = value.slice(word.start, word.end);
    if (written === ';') commands.push([]);
    else commands.at(-1)?.push(written === '\\;' ? { ...word, text: ';' } : word);
  }
  return commands.filter((command) => command.length > 0).map(takePrefixes);
}

/** Quotes a word so that systemd reads exactly this text; `%` and `$` are doubled. */
export function quoteExecWord(text: string): string {
  return quoteWord(text.replaceAll('%', '%%').replaceAll('$', '$$$$'));
}

/** Quotes a word if white space, quotes or backslashes require it; `%` and `$` are kept. */
export function quoteWord(text: string): string {
  if (text !== '' && text !== ';' && !/["'\\]/.test(text) && !hasSpaceOrControl(text)) return text;
  const escaped = Array.from(text.replace(/["\\]/g, '\\$&'), (char) =>
    char < ' ' ? `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}` : char,
  );
  return `"${escaped.join('')}"`;
}

const hasSpaceOrControl = (text: string): boolean => Array.from(text).some((char) => char <= ' ');

/** Whether systemd expands the word or a part of it. */
export function isExpanded(text: string): boolean {
  return /[%$]/.test(text.replaceAll('%%', '').replaceAll('$$', ''));
}

const isSpace = (char: string | undefined): boolean =>
  char === ' ' || char === '\t' || char === '\n' || char === '\r';

function readWord(value: string, start: number): ExecWord | null {
  let at = start;
  let quote = '';
  let text = '';
  while (at < value.length) {
    const char = value[at] ?? '';
    if (char === '\\') {
      const read = readEscape(value.slice(at + 1));
      text += read.text;
      at += 1 + read.length;
    } else if (quote !== '') {
      if (char === quote) quote = '';
      else text += char;
      at += 1;
    } else if (char === '"' || char === "'") {
      quote = char;
      at += 1;
    } else if (isSpace(char)) {
      break;
    } else {
      text += char;
      at += 1;
    }
  }
  return quote === '' ? { text, start, end: at } : null;
}

const escapes: Readonly<Record<string, string>> = {
  a: '\x07',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
  s: ' ',
  '\\': '\\',
  '"': '"',
  "'": "'",
};

/** Decodes what follows a backslash (`cunescape_one()`); unknown escapes keep their backslash. */
function readEscape(rest: string): { readonly text: string; readonly length: number } {
  const simple = escapes[rest[0] ?? ''];
  if (simple !== undefined) return { text: simple, length: 1 };
  const code =
    /^x([0-9a-fA-F]{2})/.exec(rest) ??
    /^u([0-9a-fA-F]{4})/.exec(rest) ??
    /^U([0-9a-fA-F]{8})/.exec(rest);
  const octal = /^([0-7]{3})/.exec(rest);
  const point = code ? Number.parseInt(code[1] ?? '', 16) : Number.parseInt(octal?.[1] ?? '', 8);
  const digits = code ?? octal;
  // systemd rejects NUL and values beyond Unicode.
  if (digits && point > 0 && point <= (octal ? 0xff : 0x10ffff)) {
    return { text: String.fromCodePoint(point), length: digits[0].length };
  }
  return { text: `\\${rest[0] ?? ''}`, length: rest === '' ? 0 : 1 };
}

function takePrefixes(words: readonly ExecWord[]): ExecCommand {
  const [program, ...rest] = words;
  if (!program) return { prefixes: '', words };
  const prefixes = /^[-@:+!|]*/.exec(program.text)?.[0] ?? '';
  return { prefixes, words: [{ ...program, text: program.text.slice(prefixes.length) }, ...rest] };
}
