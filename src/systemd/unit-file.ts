/**
 * Unit files (systemd.syntax(7)), preserved byte for byte: comments, blank lines, order,
 * continuations, repeated keys and sections, CRLF, a missing last newline. What is not edited is
 * printed unchanged. Parsed like systemd's `config_parse()`.
 */

import {
  type Assignment,
  assign,
  type BlankEntry,
  checkOneLine,
  checkValue,
  closeEntry,
  innerComments,
  type JunkEntry,
  leadOf,
  markedLike,
  rawSpan,
  readEntry,
  remnants,
  type SectionEntry,
  type Splice,
  sparingComments,
  type UnitEntry,
  valueSources,
} from './unit-entry.ts';
import { lastEnding, markOf, splitLines, splitLogicalLines } from './unit-lines.ts';

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
