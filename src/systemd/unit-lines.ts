/** The lines of a unit file as systemd splits and joins them (`read_line()`, `config_parse()`). */

export const whitespace = /^[ \t\r\n]+|[ \t\r\n]+$/g;

/** A line ends with `\n`, `\r`, NUL, or a combination of them (`read_line()`). */
const endings = /\n\r?\0?|\r\n?\0?|\0/g;

interface PhysicalLine {
  readonly text: string;
  readonly ending: string;
}

export function splitLines(text: string): readonly PhysicalLine[] {
  const lines: PhysicalLine[] = [];
  let from = 0;
  for (const match of text.matchAll(endings)) {
    lines.push({ text: text.slice(from, match.index), ending: match[0] });
    from = match.index + match[0].length;
  }
  if (from < text.length) lines.push({ text: text.slice(from), ending: '' });
  return lines;
}

export const isComment = (line: string): boolean => /^[ \t]*[#;]/.test(line);

/** Whether the line ends with an unescaped backslash. */
export const continues = (line: string): boolean => (/\\*$/.exec(line)?.[0].length ?? 0) % 2 === 1;

export function splitLogicalLines(text: string): readonly string[] {
  const entries: string[] = [];
  let open = '';
  for (const { text: line, ending: end } of splitLines(text)) {
    const whole = line + end;
    if (open === '') {
      if (!isComment(line) && continues(line)) open = whole;
      else entries.push(whole);
    } else {
      open += whole;
      if (!isComment(line) && !continues(line)) {
        entries.push(open);
        open = '';
      }
    }
  }
  if (open !== '') entries.push(open);
  return entries;
}

interface LogicalLine {
  readonly text: string;
  /** For each character of the text, its position in the raw bytes. */
  readonly sources: readonly number[];
}

/** A piece of a logical line, and where it begins in the raw bytes. */
interface Piece {
  readonly text: string;
  readonly start: number;
}

/**
 * Where a line has the byte order mark that systemd skips: only the first one in a file, but at the
 * start of any line that is no comment; -1: nowhere.
 */
export function markOf(raw: string): number {
  if (!raw.includes('\uFEFF')) return -1;
  let offset = 0;
  for (const { text, ending } of splitLines(raw)) {
    if (text.startsWith('\uFEFF')) return offset;
    offset += text.length + ending.length;
  }
  return -1;
}

/** The line as systemd joins it, without the byte order mark. */
export function readLogicalLine(raw: string, afterMark: boolean | undefined): LogicalLine {
  const pieces = joinedPieces(raw, afterMark);
  return {
    text: textOf(pieces),
    sources: pieces.flatMap(({ text: { length }, start }) =>
      Array.from({ length }, (_, at) => start + at),
    ),
  };
}

/** Its text alone. */
export const logicalText = (raw: string, afterMark: boolean | undefined): string =>
  textOf(joinedPieces(raw, afterMark));

const textOf = (pieces: readonly Piece[]): string => pieces.map(({ text }) => text).join('');

function joinedPieces(raw: string, afterMark: boolean | undefined): readonly Piece[] {
  const pieces: Piece[] = [];
  const mark = afterMark ? -1 : markOf(raw);
  let offset = 0;
  for (const { text, ending } of splitLines(raw)) {
    if (!(isComment(text) && offset > 0)) {
      const joined = continues(text) ? `${text.slice(0, -1)} ` : text;
      const skipped = offset === mark ? 1 : 0;
      pieces.push({ text: joined.slice(skipped), start: offset + skipped });
    }
    offset += text.length + ending.length;
  }
  return pieces;
}

export function lastEnding(raw: string): string {
  return splitLines(raw).at(-1)?.ending ?? '';
}
