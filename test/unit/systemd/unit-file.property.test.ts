import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseUnitFile, type UnitFile } from '../../../src/systemd/unit-file.ts';
import { readAsSystemd } from './config-parse.ts';

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

const readsOf = (file: UnitFile) =>
  file.entries.flatMap((entry) =>
    entry.kind === 'assignment' ? [[entry.section, entry.key, entry.value]] : [],
  );

/** The pieces of `lines`, with every kind of line end, marks and broken headers between them. */
const oddText = fc
  .array(
    fc.oneof(
      { weight: 3, arbitrary: continued },
      fc.constantFrom(
        '\uFEFF# mark',
        '\uFEFF',
        '\uFEFF[Unit]',
        '\uFEFFA=b',
        '# \\',
        '; c \\',
        '\uFEFF# d \\',
      ),
      {
        weight: 3,
        arbitrary: fc.constantFrom('\n', '\r', '\r\n', '\n\r', '\0', '\n\0', '\\\r', '\\\r\n'),
      },
      fc.constantFrom(
        '[Service]',
        '[Unit]',
        '[Install',
        '[',
        '[]',
        '[a"b]',
        '\\',
        '\\\\',
        ' ',
        '=',
        'A=1',
      ),
    ),
    { maxLength: 30 },
  )
  .map((pieces) => pieces.join(''));

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

  it('reads what systemd reads', () => {
    fc.assert(
      fc.property(oddText, (text) => {
        const { assignments, gaveUp } = readAsSystemd(text);
        const file = parseUnitFile(text);
        // A key that looks like a comment is unknown to systemd.
        expect(readsOf(file)).toEqual(assignments.filter(([, key]) => !/^[#;]/.test(key)));
        expect(file.brokenHeader !== null).toBe(gaveUp);
      }),
      runs,
    );
  });

  it('reads what systemd reads, after an edit, too', () => {
    fc.assert(
      fc.property(oddText, section, key, values, (text, name, ofKey, wanted) => {
        const before = parseUnitFile(text);
        const after = before.set(name, ofKey, wanted).print();
        const others = (reads: ReturnType<typeof readAsSystemd>) =>
          reads.assignments.filter(
            ([in_, one]) => !(in_ === name && one === ofKey) && !/^[#;]/.test(one),
          );
        const read = readAsSystemd(after);
        const effective = read.assignments.filter(([in_, one]) => in_ === name && one === ofKey);
        const last = effective.findLastIndex(([, , value]) => value === '');
        expect(effective.slice(last + 1).map(([, , value]) => value)).toEqual(wanted);
        expect(others(read), JSON.stringify(after)).toEqual(others(readAsSystemd(text)));
        expect(parseUnitFile(after).set(name, ofKey, wanted).print()).toBe(after);
      }),
      runs,
    );
  });

  it('keeps every other byte when one line is edited', () => {
    fc.assert(
      fc.property(lines, fc.string({ unit: 'grapheme', maxLength: 20 }), (text, more) => {
        const file = parseUnitFile(`${text}\n`);
        const target = file.entries.find((entry) => entry.kind === 'assignment');
        fc.pre(target?.kind === 'assignment' && target.value !== '' && !/[\n\r\0\\]/.test(more));
        if (target?.kind !== 'assignment') return;
        const at = file.entries.indexOf(target);
        const raws = (some: UnitFile['entries']) => some.map(({ raw }) => raw).join('');
        const { length } = target.value;
        const edited = file.splice(target, [{ start: length, end: length, text: more }]).print();
        const [head, tail] = [raws(file.entries.slice(0, at)), raws(file.entries.slice(at + 1))];
        expect(edited.startsWith(head)).toBe(true);
        expect(edited.endsWith(tail)).toBe(true);
        expect(edited.length).toBe(file.print().length + more.length);
      }),
      runs,
    );
  });
});
