import { spawnSync } from 'node:child_process';
import path from 'node:path';

const root = path.join(import.meta.dirname, '..');
const biome = path.join(root, 'node_modules', '@biomejs', 'biome', 'bin', 'biome');
const commands = [
  [process.execPath, biome, 'check', '--write', '.'],
  ['ruff', 'check', '--fix', '.'],
  ['ruff', 'format', '.'],
];
for (const [program = '', ...options] of commands) {
  const { status } = spawnSync(program, options, { cwd: root, stdio: 'inherit' });
  if (status !== 0) process.exitCode = 1;
}
