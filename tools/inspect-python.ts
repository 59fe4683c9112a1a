/** An import in a Python module, in whatever way it is written. */
export interface PythonImport {
  /** Dots of a relative import: 0 for an absolute one. */
  readonly level: number;
  /** `a.b` of `from a.b import c` and of `import a.b`; empty in `from . import c`. */
  readonly module: string;
  /** `c` of `from a.b import c`, which may be a module or a name in one; `null`: `import a.b`. */
  readonly name: string | null;
  readonly line: number;
}

export interface PythonInspection {
  readonly imports: readonly PythonImport[];
  /** String literals, such as the name of a module for `import_module`. */
  readonly strings: readonly { readonly text: string; readonly line: number }[];
  /** Lines that call `import_module` or `__import__` with anything but a string literal. */
  readonly computed: readonly number[];
}

interface Token {
  readonly kind: 'name' | 'string' | 'sign' | 'end';
  readonly text: string;
  readonly line: number;
}

/** Space between tokens: blanks, a continued line, a comment. */
const space = /[ \t\f]+|\\\r?\n|#[^\n]*/;
const end = /\r?\n|;/;
const string =
  /[A-Za-z]{0,2}(?:'''(?:\\.|[^\\])*?'''|"{3}(?:\\.|[^\\])*?"{3}|'(?:\\.|[^\\'\n])*'|"(?:\\.|[^\\"\n])*")/s;
const name = /[\p{L}_][\p{L}\p{N}_]*/u;
const pattern = new RegExp(
  `(?<space>${space.source})|(?<end>${end.source})|(?<string>${string.source})|(?<name>${name.source})|(?<sign>.)`,
  'gsu',
);

/** Names, strings, punctuation, and ends of statements (not of lines in brackets). */
function tokensOf(text: string): Token[] {
  const tokens: Token[] = [];
  let line = 1;
  let depth = 0;
  for (const { 0: whole, groups = {} } of text.matchAll(pattern)) {
    const { end, string, name, sign } = groups;
    if (string !== undefined) tokens.push({ kind: 'string', text: string, line });
    else if (name !== undefined) tokens.push({ kind: 'name', text: name, line });
    else if (end !== undefined && (depth === 0 || end === ';')) {
      tokens.push({ kind: 'end', text: end, line });
    } else if (sign !== undefined) {
      if ('([{'.includes(sign)) depth += 1;
      else if (')]}'.includes(sign)) depth -= 1;
      tokens.push({ kind: 'sign', text: sign, line });
    }
    line += whole.split('\n').length - 1;
  }
  return tokens;
}

/** What a Python module imports. Programs that it holds as text import nothing here. */
export function inspectPython(text: string): PythonInspection {
  const tokens = tokensOf(text);
  const imports: PythonImport[] = [];
  const computed: number[] = [];
  tokens.forEach((token, at) => {
    if (token.kind !== 'name') return;
    if (token.text === 'import') imports.push(...readImport(tokens, at));
    const called = token.text === 'import_module' || token.text === '__import__';
    if (called && tokens[at + 1]?.text === '(') {
      const [first, next] = tokens.slice(at + 2);
      if (first?.kind !== 'string' || !/^[,)]$/.test(next?.text ?? '')) computed.push(token.line);
    }
  });
  const strings = tokens.flatMap(({ kind, text, line }) =>
    kind === 'string'
      ? [{ text: text.replace(/^[A-Za-z]*(["']{3}|["'])|(["']{3}|["'])$/g, ''), line }]
      : [],
  );
  return { imports, strings, computed };
}

/** `import` is a keyword, so it always starts a statement or follows `from`. */
function readImport(tokens: readonly Token[], at: number): PythonImport[] {
  const line = tokens[at]?.line ?? 0;
  const start = tokens.findLastIndex(
    ({ kind, text }, index) => index < at && (kind === 'end' || text === ':'),
  );
  const before = tokens.slice(start + 1, at);
  const stop = tokens.findIndex(({ kind }, index) => index > at && kind === 'end');
  const names = namesIn(tokens.slice(at + 1, stop === -1 ? undefined : stop));
  if (before[0]?.text !== 'from') {
    return names.map((module) => ({ level: 0, module, name: null, line }));
  }
  const from = before
    .slice(1)
    .map(({ text }) => text)
    .join('');
  const level = /^\.*/.exec(from)?.[0].length ?? 0;
  return names.map((name) => ({ level, module: from.slice(level), name, line }));
}

/** `(a.b as c, d)` → `a.b`, `d`. */
function namesIn(tokens: readonly Token[]): string[] {
  const written = tokens.map(({ text }) => (text === 'as' ? ' ' : text)).join('');
  return written
    .replace(/[()]/g, '')
    .split(',')
    .map((part) => part.split(' ')[0] ?? '')
    .filter((part) => part !== '');
}
