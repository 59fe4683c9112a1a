// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these are systemd's variables
import { describe, expect, it } from 'vitest';
import {
  isExpanded,
  parseExecLine,
  quoteExecWord,
  splitWords,
} from '../../../src/systemd/exec-line.ts';
import { pick, seeded } from './random.ts';

describe('words', () => {
  it.each<[string, readonly string[] | null]>([
    ['a b  c', ['a', 'b', 'c']],
    ['a\tb', ['a', 'b']],
    ['"a b" c', ['a b', 'c']],
    ['\'a "b"\' c', ['a "b"', 'c']],
    ['a"b c"d', ['ab cd']],
    ['""', ['']],
    ['a\\x20b', ['a b']],
    ['a\\sb', ['a b']],
    ['a\\040b', ['a b']],
    ['\\u00e4\\U0001F600', ['ä😀']],
    ['"a\\"b"', ['a"b']],
    ["'a\\'b'", ["a'b"]],
    ['a\\nb', ['a\nb']],
    ['a\\qb', ['a\\qb']],
    ['a\\', ['a\\']],
    ['a\\x00b', ['a\\x00b']],
    ['100%% $$5 %n ${X}', ['100%%', '$$5', '%n', '${X}']],
    ['"a', null],
    ["a'b c", null],
    ['', []],
    ['   ', []],
  ])('%j', (value, words) => {
    expect(splitWords(value)?.map(({ text }) => text) ?? null).toEqual(words);
  });

  it('have positions', () => {
    const value = '-/bin/a  "b c" d';
    expect(splitWords(value)?.map(({ start, end }) => value.slice(start, end))).toEqual([
      '-/bin/a',
      '"b c"',
      'd',
    ]);
  });

  it('are quoted so that they read back, whatever they contain', () => {
    const pieces = ['a', ' ', '"', "'", '\\', '%', '$', ';', '\n', '\t', '{X}', 'ü', '=', '#'];
    for (let seed = 0; seed < 2000; seed += 1) {
      const random = seeded(seed);
      let text = '';
      for (let count = Math.floor(random() * 6); count > 0; count -= 1)
        text += pick(random, pieces);
      const words = splitWords(`x ${quoteExecWord(text)} y`) ?? [];
      const [, word] = words;
      expect(words, `seed ${seed}`).toHaveLength(3);
      expect(word?.text.replaceAll('%%', '%').replaceAll('$$', '$'), `seed ${seed}`).toBe(text);
      expect(isExpanded(word?.text ?? ''), `seed ${seed}`).toBe(false);
    }
  });

  it('show what systemd expands', () => {
    expect(['%n', '$X', 'a${X}', '%%%i'].map(isExpanded)).toEqual([true, true, true, true]);
    expect(['%%', '$$', '100%%n', 'a'].map(isExpanded)).toEqual([false, false, false, false]);
  });
});

describe('commands', () => {
  it.each([
    ['-/bin/a', '-', '/bin/a'],
    ['@/bin/a b', '@', '/bin/a'],
    ['!!/bin/a', '!!', '/bin/a'],
    ['-:+/bin/a', '-:+', '/bin/a'],
    ['"-/bin/a b"', '-', '/bin/a b'],
    ['/bin/a', '', '/bin/a'],
  ])('%s', (value, prefixes, program) => {
    const [command] = parseExecLine(value) ?? [];
    expect([command?.prefixes, command?.words[0]?.text]).toEqual([prefixes, program]);
  });

  it('are separated by a lone semicolon', () => {
    const texts = parseExecLine('/bin/a 1 ; -/bin/b ";" \\; x;y')?.map(({ words }) =>
      words.map(({ text }) => text),
    );
    expect(texts).toEqual([
      ['/bin/a', '1'],
      ['/bin/b', ';', ';', 'x;y'],
    ]);
  });
});
