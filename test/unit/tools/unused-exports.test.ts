import { describe, expect, test } from 'vitest';
import { findUnusedExports } from '../../../tools/unused-exports.ts';

const unused = (tree: Record<string, string>): string[] =>
  findUnusedExports(new Map(Object.entries(tree))).map(
    ({ file, line, message }) => `${file}:${line}: ${message}`,
  );

const advice = 'do not export it, or remove it';

describe('an export', () => {
  test('that no other file imports is found, with its line', () => {
    expect(
      unused({
        'src/a.ts': 'const one = 1;\n\nexport function two() { return two; }\nexport { one };\n',
        'src/b.ts': "import { three } from './a.ts';\nexport const four = three, five = 5;\n",
      }),
    ).toEqual([
      `src/a.ts:3: no other file imports two: ${advice}`,
      `src/a.ts:4: no other file imports one: ${advice}`,
      `src/b.ts:2: no other file imports four: ${advice}`,
      `src/b.ts:2: no other file imports five: ${advice}`,
    ]);
  });

  test.each([
    ['by its name', "import { one } from '../src/a.ts';"],
    ['by another name', "import { one as two } from '../src/a.ts';"],
    ['as a type', "import { type one } from '../src/a.ts';"],
    ['with everything', "import * as all from '../src/a.ts';"],
    ['to be passed on', "export { one as default } from '../src/a.ts';"],
    ['at run time', "const { one } = await import('../src/a.ts');"],
    ['in a type', "let all: typeof import('../src/a.ts');"],
  ])('may be imported %s', (_, user) => {
    expect(unused({ 'src/a.ts': 'export const one = 1;', 'test/b.ts': user })).toEqual([]);
  });

  test('of the same name in another file is another one', () => {
    const files = { 'a.ts': 'export const x = 1;', 'b.ts': 'export const x = 2;' };
    expect(unused({ ...files, 'c.ts': "import { x } from './b.ts';" })).toEqual([
      `a.ts:1: no other file imports x: ${advice}`,
    ]);
  });

  test('of a type may serve its own file alone, but must serve', () => {
    const used = 'export interface A { readonly a: number }\nexport type B = A;';
    expect(unused({ 'a.ts': used })).toEqual([`a.ts:2: no other file imports B: ${advice}`]);
  });

  test('by default is for who finds the file', () => {
    expect(unused({ 'a.ts': 'export default 1;' })).toEqual([]);
  });
});
