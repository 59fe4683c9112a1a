import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseUnitFile, type UnitFile } from '../../../src/systemd/unit-file.ts';

/** Pieces of unit files, whole and broken, as people and programs leave them. */
const key = fc.constantFrom('A', 'B', 'Environment', 'ExecStart');
const word = fc.constantFrom(
  '1',
  'two words',
  '"a b"',
  "'c",
  '%n',
  '$X',
  'd\\x20e',
  '#f',
  ';g',
  'ü',
);
const line = fc.oneof(
  fc.constantFrom('[Service]', '[Unit]', '[Install]', '[broken', '', ' \t', 'junk', '=v', '\uFEFF'),
  fc.tuple(fc.constantFrom('#', ' ; '), word).map(([mark, text]) => `${mark} ${text}`),
  fc
    .tuple(
      fc.constantFrom('', '  '),
      key,
      fc.constantFrom('=', ' = '),
      fc.array(word, { maxLength: 3 }),
    )
    .map(([indent, name, equals, words]) => indent + name + equals + words.join(' ')),
);
const continued = fc
  .tuple(line, fc.constantFrom('', '', '', ' \\', '\\\\', '\\'))
  .map(([text, end]) => text + end);
const ending = fc.constantFrom('\n', '\n', '\n', '\r\n');
const lines = fc
  .tuple(fc.array(fc.tuple(continued, ending), { maxLength: 20 }), fc.boolean())
  .map(([all, last]) => all.map((pair) => pair.join('')).join('') + (last ? 'A=1' : ''));
const anyText = fc.oneof(lines, fc.string({ unit: 'binary' }), fc.string({ unit: 'grapheme' }));

const section = fc.constantFrom('Service', 'Unit', 'New');
const values = fc.array(fc.constantFrom('v', 'w x', '"y"'), { minLength: 1, maxLength: 3 });
const runs = { numRuns: 2000 };

/** The lines of everything but one key, comments inside of its continued lines left out. */
const untouched = (file: UnitFile, name: string, ofKey: string): readonly string[] =>
  file.entries
    .filter(
      (entry) =>
        !(entry.kind === 'assignment' && entry.section === name && entry.key === ofKey) &&
        entry.kind !== 'comment',
    )
    .map(({ raw }) => raw);

const isWithin = (some: readonly string[], all: readonly string[]): boolean => {
  let at = 0;
  for (const one of all) if (one === some[at]) at += 1;
  return at === some.length;
};

describe('a unit file', () => {
  it('prints as it was read, for any text', () => {
    fc.assert(
      fc.property(anyText, (text) => {
        expect(parseUnitFile(text).print()).toBe(text);
      }),
      runs,
    );
  });

  it('keeps all lines of other keys when edited', () => {
    fc.assert(
      fc.property(lines, section, key, values, (text, name, ofKey, wanted) => {
        const before = parseUnitFile(text);
        const after = before.set(name, ofKey, wanted);
        const again = parseUnitFile(after.print());
        expect(again.values(name, ofKey)).toEqual(wanted);
        const ended = untouched(before, name, ofKey).map((raw) => raw.replace(/\s+$/, ''));
        const kept = untouched(again, name, ofKey).map((raw) => raw.replace(/\s+$/, ''));
        expect(isWithin(ended, kept), JSON.stringify(after.print())).toBe(true);
        expect(again.set(name, ofKey, wanted).print()).toBe(after.print());
      }),
      runs,
    );
  });

  it('is unchanged after a new key is added and removed', () => {
    fc.assert(
      fc.property(lines, section, (text, name) => {
        const file = parseUnitFile(text.endsWith('\n') ? text : `${text}\n`);
        const reads = (one: UnitFile) =>
          one.entries.flatMap((each) =>
            each.kind === 'assignment' ? [[each.section, each.key, each.value]] : [],
          );
        const back = file.set(name, 'Fresh', 'v').remove(name, 'Fresh');
        expect(reads(parseUnitFile(back.print()))).toEqual(reads(file));
      }),
      runs,
    );
  });
});
