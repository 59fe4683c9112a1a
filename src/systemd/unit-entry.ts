/** One logical line of a unit file: what it is, where its value stands in it, and what stays of it. */

import {
  continues,
  isComment,
  lastEnding,
  logicalText,
  markOf,
  readLogicalLine,
  splitLines,
  splitLogicalLines,
  whitespace,
} from './unit-lines.ts';

/** One logical line: a physical line and its continuations, with the comments in between. */
export type UnitEntry = BlankEntry | CommentEntry | SectionEntry | JunkEntry | Assignment;

interface RawEntry {
  /** The bytes in the file, including line endings. */
  readonly raw: string;
  /** An earlier line had the byte order mark: another one is text. */
  readonly afterMark?: true;
}

export interface BlankEntry extends RawEntry {
  readonly kind: 'blank';
}

export interface CommentEntry extends RawEntry {
  readonly kind: 'comment';
}

export interface SectionEntry extends RawEntry {
  readonly kind: 'section';
  readonly name: string;
}

/** A line that systemd ignores with a warning: no `=`, or no key. */
export interface JunkEntry extends RawEntry {
  readonly kind: 'junk';
  /**
   * `header`: a section header that is not closed, or has quotes or control characters in it: systemd
   * stops there. It does not load such a unit file, and it ignores the rest of such a drop-in.
   * `rest`: a line after it, which is not read.
   */
  readonly broken?: 'header' | 'rest';
}

export interface Assignment extends RawEntry {
  readonly kind: 'assignment';
  /** `null` before the first section: systemd ignores it. */
  readonly section: string | null;
  readonly key: string;
  /** As systemd reads it: lines joined by a space, surrounding white space removed. */
  readonly value: string;
}

/** A part of an assignment's value, `start` to `end`, and its replacement. */
export interface Splice {
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

export const markedLike = ({ afterMark }: RawEntry): Pick<RawEntry, 'afterMark'> =>
  afterMark ? { afterMark } : {};

export function readEntry(
  raw: string,
  section: string | null,
  afterMark: boolean | undefined,
): UnitEntry {
  const text = logicalText(raw, afterMark).replace(whitespace, '');
  if (text === '') return { kind: 'blank', raw };
  if (isComment(text)) return { kind: 'comment', raw };
  if (text.startsWith('[')) {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: systemd refuses them in a header
    return /^\[[^\x01-\x1f\x7f"'\\]*\]$/.test(text)
      ? { kind: 'section', raw, name: text.slice(1, -1) }
      : { kind: 'junk', raw, broken: 'header' };
  }
  const equals = text.indexOf('=');
  if (equals <= 0) return junk(raw);
  return {
    kind: 'assignment',
    raw,
    section,
    key: text.slice(0, equals).replace(whitespace, ''),
    value: text.slice(equals + 1).replace(whitespace, ''),
  };
}

const junk = (raw: string): JunkEntry => ({ kind: 'junk', raw });

/** Position of each character of the value in the raw bytes, and of its end. */
export function valueSources({ raw, afterMark }: RawEntry): readonly number[] {
  const { text, sources } = readLogicalLine(raw, afterMark);
  const after = text.indexOf('=') + 1;
  const value = text.slice(after);
  const from = after + (/^[ \t\r\n]*/.exec(value)?.[0].length ?? 0);
  const length = value.replace(whitespace, '').length;
  const end = length === 0 ? (sources[after - 1] ?? 0) + 1 : (sources[from + length - 1] ?? 0) + 1;
  return [...sources.slice(from, from + length), end];
}

/** Everything before the value: indentation, key, `=` and the spaces around it. */
export function leadOf(entry: Assignment): string {
  const lead = entry.raw.slice(0, valueSources(entry)[0]);
  return /[\n\r\0]/.test(lead) ? `${entry.key}=` : lead;
}

export function rawSpan(sources: readonly number[], start: number, end: number): [number, number] {
  const from = sources[start];
  if (from === undefined || end < start || end >= sources.length) {
    throw new RangeError('the splice is not within the value');
  }
  // Insert directly after the previous character: after a word, not after its line break.
  if (start === end && start > 0) {
    const place = (sources[start - 1] ?? 0) + 1;
    return [place, place];
  }
  return [from, end === start ? from : (sources[end - 1] ?? from) + 1];
}

/** Where a removal may begin without losing comment lines between the removed words. */
export function sparingComments(raw: string, from: number, to: number): number {
  const gone = raw.slice(from, to);
  if (innerComments(gone).length === 0) return from;
  const lines = splitLines(gone);
  const last = lines.at(-1)?.text ?? '';
  return to - last.trimStart().length;
}

/** What stays of a removed line: its comments, and the mark, or the next one would be skipped. */
export function remnants({ raw, afterMark }: UnitEntry): readonly UnitEntry[] {
  const mark: readonly BlankEntry[] =
    !afterMark && markOf(raw) !== -1 ? [{ kind: 'blank', raw: `\uFEFF${lastEnding(raw)}` }] : [];
  return [...mark, ...innerComments(raw)];
}

/** Comment lines inside a continued line, which are kept when it is removed. */
export function innerComments(raw: string): readonly CommentEntry[] {
  return splitLines(raw)
    .slice(1)
    .filter((line) => isComment(line.text))
    .map((line) => ({ kind: 'comment', raw: line.text + line.ending }));
}

/** Makes sure that the next entry begins on its own line. */
export function closeEntry(entry: UnitEntry, eol: string): UnitEntry {
  let raw = entry.raw;
  if (lastEnding(raw) === '') raw += eol;
  // A backslash at the end of the file would continue into the next line: empty lines end it. One may
  // not do, because a lone CR before it and its LF are one line ending.
  while (splitLogicalLines(`${raw}x`).at(-1) !== 'x') raw += eol;
  return { ...entry, raw };
}

export function assign(
  section: string,
  key: string,
  value: string,
  lead: string,
  eol: string,
): Assignment {
  return { kind: 'assignment', raw: `${lead}${value}${eol}`, section, key, value };
}

export function checkOneLine(text: string): void {
  if (/[\n\r\0]/.test(text)) throw new RangeError('a value in a unit file must be one line');
}

export function checkValue(value: string): void {
  checkOneLine(value);
  if (value !== value.replace(whitespace, '')) {
    throw new RangeError('systemd drops white space around a value');
  }
  if (continues(value)) throw new RangeError('a backslash at the end would continue the line');
}
