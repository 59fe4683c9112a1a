/**
 * Unit files (systemd.syntax(7)), preserved byte for byte: comments, blank lines, order,
 * continuations, repeated keys and sections, CRLF, a missing last newline. What is not edited is
 * printed unchanged. Parsed like systemd's `config_parse()`.
 */

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

/** Parses a unit file into entries. */
export function parseUnitFile(text: string): UnitFile {
  const entries: UnitEntry[] = [];
  let section: string | null = null;
  let marked = false;
  let broken = false;
  for (const raw of splitLogicalLines(text)) {
    const read: UnitEntry = broken
      ? ({ kind: 'junk', raw, broken: 'rest' } as const)
      : readEntry(raw, section, marked);
    const entry: UnitEntry = marked ? ({ ...read, afterMark: true } as const) : read;
    if (entry.kind === 'section') section = entry.name;
    if (entry.kind === 'junk' && entry.broken) broken = true;
    marked ||= markOf(raw) !== -1;
    entries.push(entry);
  }
  return new UnitFile(entries);
}

/** A unit file; immutable: each edit returns a new one. */
export class UnitFile {
  readonly entries: readonly UnitEntry[];

  constructor(entries: readonly UnitEntry[]) {
    this.entries = entries;
  }

  /** The text, byte for byte: `parseUnitFile(text).print() === text`. */
  print(): string {
    return this.entries.map((entry) => entry.raw).join('');
  }

  /** The 1-based line on which an entry begins. */
  lineOf(entry: UnitEntry): number {
    let line = 1;
    for (const other of this.entries) {
      if (other === entry) return line;
      line += splitLines(other.raw).length;
    }
    throw new RangeError('the entry is not one of this file');
  }

  /** The section header at which systemd stops to read; `null`: it reads everything. */
  get brokenHeader(): JunkEntry | null {
    const found = this.entries.find((entry) => entry.kind === 'junk' && entry.broken === 'header');
    return found?.kind === 'junk' ? found : null;
  }

  hasSection(name: string): boolean {
    return this.entries.some((entry) => entry.kind === 'section' && entry.name === name);
  }

  /** Every assignment of a key, in order, including resets and what they reset. */
  assignments(section: string, key: string): readonly Assignment[] {
    return this.entries.filter(
      (entry): entry is Assignment =>
        entry.kind === 'assignment' && entry.section === section && entry.key === key,
    );
  }

  /** The effective assignments of a list: those after the last empty one. */
  effective(section: string, key: string): readonly Assignment[] {
    const all = this.assignments(section, key);
    return all.slice(all.findLastIndex(({ value }) => value === '') + 1);
  }

  /** The values of a list such as `ExecStartPre=` or `Environment=`. */
  values(section: string, key: string): readonly string[] {
    return this.effective(section, key).map(({ value }) => value);
  }

  /** The value of a single-valued key such as `Restart=`: the last. `null`: systemd's default. */
  value(section: string, key: string): string | null {
    return this.values(section, key).at(-1) ?? null;
  }

  /**
   * Sets a key to this value, or these, without touching other lines. Nothing changes if it has them
   * already. They replace the last assignment; earlier ones are removed. A new key is added below
   * `near`, otherwise at the end of its section; a missing section is added.
   *
   * @throws RangeError for a value that does not fit on one line
   */
  set(
    section: string,
    key: string,
    value: string | readonly string[],
    near: string | null = null,
  ): UnitFile {
    const wanted = typeof value === 'string' ? [value] : value;
    wanted.forEach(checkValue);
    const present = this.values(section, key);
    const same =
      typeof value === 'string'
        ? present.at(-1) === value
        : present.length === wanted.length && present.every((one, at) => one === wanted[at]);
    if (same) return this;

    const last = this.assignments(section, key).at(-1);
    if (!last) return this.add(section, key, wanted, near);
    const lead = leadOf(last);
    // The mark of the line stays with the first new one; twice it would be text.
    const plain = lead.replace('\uFEFF', '');
    const { afterMark } = last;
    const entries = this.entries.flatMap((entry): readonly UnitEntry[] => {
      if (entry.kind !== 'assignment' || entry.section !== section || entry.key !== key) {
        return [entry];
      }
      if (entry !== last) return remnants(entry);
      const left = lead === plain ? remnants(entry) : innerComments(entry.raw);
      // A comment may have been the end of the file, without a line ending.
      const kept = left.map((each) =>
        wanted.length > 0 && lastEnding(each.raw) === ''
          ? { ...each, raw: each.raw + this.#eol }
          : each,
      );
      const ending = lastEnding(entry.raw);
      return [
        ...kept,
        ...wanted.map((one, at) => ({
          ...assign(
            section,
            key,
            one,
            at === 0 ? lead : plain,
            // Only the last one may lack a line ending, if the replaced line did.
            at === wanted.length - 1 ? ending : ending || this.#eol,
          ),
          ...(afterMark && { afterMark }),
        })),
      ];
    });
    return new UnitFile(entries);
  }

  /** Adds assignments after the last one of this key, or of `near`, or at the end of the section. */
  add(
    section: string,
    key: string,
    values: readonly string[],
    near: string | null = null,
  ): UnitFile {
    values.forEach(checkValue);
    if (values.length === 0) return this;
    const { file, at } = this.#placeFor(section, key, near);
    const added = values.map((one) => assign(section, key, one, `${key}=`, file.#eol));
    return file.#insert(at, added);
  }

  /** Removes every assignment of a key; comments stay. */
  remove(section: string, key: string): UnitFile {
    return this.removeEntries(this.assignments(section, key));
  }

  /** Removes these lines; comments inside them stay. */
  removeEntries(gone: readonly UnitEntry[]): UnitFile {
    if (gone.length === 0) return this;
    return new UnitFile(
      this.entries.flatMap((entry): readonly UnitEntry[] =>
        gone.includes(entry) ? remnants(entry) : [entry],
      ),
    );
  }

  /**
   * Replaces parts of one assignment's value in place, so that line breaks, comments and spacing
   * elsewhere are kept. A splice of length zero inserts.
   */
  splice(target: Assignment, splices: readonly Splice[]): UnitFile {
    if (splices.length === 0) return this;
    let raw = target.raw;
    const sources = valueSources(target);
    const fromTheEnd = [...splices].sort((a, b) => b.start - a.start || b.end - a.end);
    for (const { start, end, text } of fromTheEnd) {
      checkOneLine(text);
      const [from, to] = rawSpan(sources, start, end);
      raw = raw.slice(0, sparingComments(raw, from, to)) + text + raw.slice(to);
    }
    return this.#replace(target, raw);
  }

  #replace(target: Assignment, raw: string): UnitFile {
    if (splitLogicalLines(raw).length !== 1) throw new RangeError('the splice breaks its line');
    return new UnitFile(
      this.entries.map((entry) =>
        entry === target
          ? { ...readEntry(raw, target.section, target.afterMark), ...markedLike(target) }
          : entry,
      ),
    );
  }

  get #eol(): string {
    const first = this.entries.find((entry) => lastEnding(entry.raw) !== '');
    return first && lastEnding(first.raw) === '\r\n' ? '\r\n' : '\n';
  }

  #placeFor(
    section: string,
    key: string,
    near: string | null,
  ): { readonly file: UnitFile; readonly at: number } {
    const same =
      this.assignments(section, key).at(-1) ??
      (near === null ? undefined : this.assignments(section, near).at(-1));
    if (same) return { file: this, at: this.entries.indexOf(same) + 1 };
    const header = this.entries.findLastIndex(
      (entry) => entry.kind === 'section' && entry.name === section,
    );
    if (header === -1) return this.#withSection(section).#placeFor(section, key, near);
    const following = this.entries.findIndex(
      (entry, at) => at > header && entry.kind === 'section',
    );
    const end = following === -1 ? this.#readUntil : following;
    // Comments at the end of a section often belong to the next one: new lines go before them.
    const lastSetting = this.entries
      .slice(header, end)
      .findLastIndex((entry) => entry.kind !== 'blank' && entry.kind !== 'comment');
    return { file: this, at: header + lastSetting + 1 };
  }

  #withSection(name: string): UnitFile {
    const eol = this.#eol;
    const header: SectionEntry = { kind: 'section', name, raw: `[${name}]${eol}` };
    const blank: BlankEntry = { kind: 'blank', raw: eol };
    const first = this.entries.findIndex((entry) => entry.kind === 'section');
    const install = this.entries.findIndex(
      (entry) => entry.kind === 'section' && entry.name === 'Install',
    );
    if (name === 'Unit' && first !== -1) {
      return this.#insert(this.#aboveComments(first), [header, blank]);
    }
    if (name === 'Service' && install !== -1) {
      return this.#insert(this.#aboveComments(install), [header, blank]);
    }
    const end = this.#readUntil;
    const apart = end > 0 && this.entries[end - 1]?.kind !== 'blank';
    return this.#insert(end, apart ? [blank, header] : [header]);
  }

  /** Nothing that is added after a broken section header would be read. */
  get #readUntil(): number {
    const broken = this.brokenHeader;
    return broken === null ? this.entries.length : this.entries.indexOf(broken);
  }

  /** Above the comments directly before a section, unless they are at the top of the file. */
  #aboveComments(section: number): number {
    let at = section;
    while (this.entries[at - 1]?.kind === 'comment') at -= 1;
    return at === 0 ? section : at;
  }

  #insert(at: number, added: readonly UnitEntry[]): UnitFile {
    const before = this.entries.slice(0, at);
    const previous = before.at(-1);
    const ended = previous ? [...before.slice(0, -1), closeEntry(previous, this.#eol)] : before;
    return new UnitFile([...ended, ...added, ...this.entries.slice(at)]);
  }
}

const markedLike = ({ afterMark }: RawEntry): Pick<RawEntry, 'afterMark'> =>
  afterMark ? { afterMark } : {};

function readEntry(raw: string, section: string | null, afterMark: boolean | undefined): UnitEntry {
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
function valueSources({ raw, afterMark }: RawEntry): readonly number[] {
  const { text, sources } = readLogicalLine(raw, afterMark);
  const after = text.indexOf('=') + 1;
  const value = text.slice(after);
  const from = after + (/^[ \t\r\n]*/.exec(value)?.[0].length ?? 0);
  const length = value.replace(whitespace, '').length;
  const end = length === 0 ? (sources[after - 1] ?? 0) + 1 : (sources[from + length - 1] ?? 0) + 1;
  return [...sources.slice(from, from + length), end];
}

/** Everything before the value: indentation, key, `=` and the spaces around it. */
function leadOf(entry: Assignment): string {
  const lead = entry.raw.slice(0, valueSources(entry)[0]);
  return /[\n\r\0]/.test(lead) ? `${entry.key}=` : lead;
}

function rawSpan(sources: readonly number[], start: number, end: number): [number, number] {
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
function sparingComments(raw: string, from: number, to: number): number {
  const gone = raw.slice(from, to);
  if (innerComments(gone).length === 0) return from;
  const lines = splitLines(gone);
  const last = lines.at(-1)?.text ?? '';
  return to - last.trimStart().length;
}

/** What stays of a removed line: its comments, and the mark, or the next one would be skipped. */
function remnants({ raw, afterMark }: UnitEntry): readonly UnitEntry[] {
  const mark: readonly BlankEntry[] =
    !afterMark && markOf(raw) !== -1 ? [{ kind: 'blank', raw: `\uFEFF${lastEnding(raw)}` }] : [];
  return [...mark, ...innerComments(raw)];
}

/** Comment lines inside a continued line, which are kept when it is removed. */
function innerComments(raw: string): readonly CommentEntry[] {
  return splitLines(raw)
    .slice(1)
    .filter((line) => isComment(line.text))
    .map((line) => ({ kind: 'comment', raw: line.text + line.ending }));
}

/** Makes sure that the next entry begins on its own line. */
function closeEntry(entry: UnitEntry, eol: string): UnitEntry {
  let raw = entry.raw;
  if (lastEnding(raw) === '') raw += eol;
  // A backslash at the end of the file would continue into the next line: empty lines end it. One may
  // not do, because a lone CR before it and its LF are one line ending.
  while (splitLogicalLines(`${raw}x`).at(-1) !== 'x') raw += eol;
  return { ...entry, raw };
}

function assign(
  section: string,
  key: string,
  value: string,
  lead: string,
  eol: string,
): Assignment {
  return { kind: 'assignment', raw: `${lead}${value}${eol}`, section, key, value };
}

function checkOneLine(text: string): void {
  if (/[\n\r\0]/.test(text)) throw new RangeError('a value in a unit file must be one line');
}

function checkValue(value: string): void {
  checkOneLine(value);
  if (value !== value.replace(whitespace, '')) {
    throw new RangeError('systemd drops white space around a value');
  }
  if (continues(value)) throw new RangeError('a backslash at the end would continue the line');
}
