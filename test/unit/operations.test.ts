import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { renderOperations } from '../../tools/docs.ts';

const root = join(import.meta.dirname, '../..');

/** The verbs of the closed union, by the sources of its members. */
function verbsOfModel(): string[] {
  const folder = join(root, 'src/model/operation');
  const source = readdirSync(folder)
    .map((file) => readFileSync(join(folder, file), 'utf8'))
    .join('\n');
  return [...source.matchAll(/readonly op: '([a-z-]+)'/g)].map(([, verb]) => verb ?? '').sort();
}

describe('operations', () => {
  it('have one file each on the host, and every file is an operation', () => {
    const files = readdirSync(join(root, 'host/celeriac_host/operations'))
      .filter((file) => file.endsWith('.py') && file !== '__init__.py')
      .map((file) => file.replace('.py', '').replaceAll('_', '-'))
      .sort();
    expect(files).toEqual(verbsOfModel());
  });

  it('must document what they touch and how they are undone', () => {
    const whole =
      '"""Does it.\n\nTouches: that file.\nUndo: the file as it was,\n  or none.\n"""\n';
    expect(renderOperations({ 'do_it.py': whole })).toContain(
      '| `do-it` | Does it. | that file | the file as it was, or none |',
    );
    expect(() => renderOperations({ 'do_it.py': '"""Does it."""\n' })).toThrow(
      'do_it.py: its docstring has no line "Touches: …"',
    );
  });
});
