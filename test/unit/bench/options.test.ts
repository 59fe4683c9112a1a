import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from 'vitest';

const program = join(import.meta.dirname, '../../../bench/kill-matrix.ts');

test('an unknown option is answered by the known ones, in one line', () => {
  const { status, stderr } = spawnSync(process.execPath, [program, '--help'], { encoding: 'utf8' });
  expect(status, stderr).toBe(2);
  expect(stderr).toMatch(/^Unknown option '--help'; expected --kind <value>, --sample, .*\n$/);
});
