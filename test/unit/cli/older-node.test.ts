import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from 'vitest';

const file = join(import.meta.dirname, '../../../src/cli/older-node.ts');

/** In a process of its own, from which they are taken first. */
const script = `
const names = [[Map, 'groupBy'], [Promise, 'withResolvers'],
  ...['union', 'intersection', 'difference'].map((name) => [Set.prototype, name])];
const use = async () => {
  const { promise, resolve } = Promise.withResolvers();
  resolve('kept');
  const one = new Set([1, 2]);
  const other = new Set([2, 3]);
  return JSON.stringify([
    [...Map.groupBy([1, 2, 3], (each) => each % 2)],
    await promise,
    [...one.union(other)], [...one.intersection(other)], [...one.difference(other)],
    // What is added is not enumerated.
    Object.keys(Set.prototype),
  ]);
};
const own = await use();
for (const [target, name] of names) delete target[name];
await import(${JSON.stringify(file)});
console.log(own === (await use()), own);
`;

test('what older versions of Node.js lack behaves as in newer ones', () => {
  const flags = ['--disable-warning=MODULE_TYPELESS_PACKAGE_JSON', '--input-type=module'];
  const { stdout, stderr } = spawnSync(process.execPath, [...flags, '-e', script], {
    encoding: 'utf8',
  });
  expect(stderr).toBe('');
  expect(stdout).toMatch(/^true \[/);
});
