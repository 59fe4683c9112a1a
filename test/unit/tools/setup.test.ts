import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { makeTemporaryFolder } from '../../lib/temporary.ts';

/** Which Pythons the host's program is tested on, of those that a machine has. */

const setup = path.join(import.meta.dirname, '../../../tools/setup.sh');

/** Folder → the names of programs in it: on PATH, but for those of pyenv. */
type Offered = Readonly<Record<string, readonly string[]>>;

/** `python3.N` prints 3.N.1; `!python3.N` is a shim that runs nothing. */
function offer(root: string, offered: Offered): void {
  for (const [folder, names] of Object.entries(offered)) {
    mkdirSync(path.join(root, folder), { recursive: true });
    for (const name of names) {
      const file = path.join(root, folder, name.replace('!', ''));
      const does = name.startsWith('!') ? 'exit 127' : `echo ${name.replace('python', '')}.1`;
      writeFileSync(file, `#!/bin/sh\n${does}\n`);
      chmodSync(file, 0o755);
    }
  }
}

function choose(offered: Offered): readonly string[] {
  const root = makeTemporaryFolder();
  offer(root, offered);
  // No Python but these; what the script itself needs.
  mkdirSync(path.join(root, 'tools'));
  for (const tool of ['bash', 'sed', 'sort', 'uniq']) {
    symlinkSync(`/usr/bin/${tool}`, path.join(root, 'tools', tool));
  }
  const folders = Object.keys(offered).filter((folder) => !folder.startsWith('pyenv/'));
  const search = ['tools', ...folders].map((folder) => path.join(root, folder)).join(':');
  // As tools/run.sh has it: whatever is unset, or fails, ends it.
  const script = 'set -euo pipefail; source "$1"; PATH=$2; PYENV_ROOT=$3; oldest_and_newest_python';
  const { stdout, stderr, status } = spawnSync(
    'bash',
    ['-c', script, 'bash', setup, search, path.join(root, 'pyenv')],
    { encoding: 'utf8' },
  );
  if (status !== 0) throw new Error(stderr);
  const chosen = stdout.split('\n').filter((line) => line !== '');
  return chosen.map((python) => path.relative(root, python));
}

const pyenv = 'pyenv/versions/x/bin';

test.each<[string, Offered, readonly string[]]>([
  [
    'the oldest from 3.8 on and the newest, in any folder',
    { a: ['python3', 'python3.7', 'python3.12'], [pyenv]: ['python3.8', 'python3.13'] },
    [`${pyenv}/python3.8`, `${pyenv}/python3.13`],
  ],
  ['3.10 is newer than 3.9', { a: ['python3.9', 'python3.10'] }, ['a/python3.9', 'a/python3.10']],
  ['a single one is used once', { a: ['python3.11', 'python3-config'] }, ['a/python3.11']],
  [
    'shims that run nothing are skipped',
    { shims: ['!python3.8', '!python3.13', '!python3.14'], b: ['python3.8', 'python3.13'] },
    ['b/python3.8', 'b/python3.13'],
  ],
  ['versions before 3.8 are skipped', { a: ['python3.6', 'python3.7'] }, []],
  ['there is none', { a: [] }, []],
])('%s', (_, offered, chosen) => {
  expect(choose(offered)).toEqual(chosen);
});

test('the Python of a shim is used without it', () => {
  const print = ['-I', '-c', 'import sys; print(sys.executable)'];
  const root = makeTemporaryFolder();
  for (const folder of ['real', 'shims']) mkdirSync(path.join(root, folder));
  const real = path.join(root, 'real/python3');
  symlinkSync(spawnSync('python3', print, { encoding: 'utf8' }).stdout.trim(), real);
  const shim = path.join(root, 'shims/python3');
  writeFileSync(shim, `#!/bin/sh\nexec '${real}' "$@"\n`);
  chmodSync(shim, 0o755);
  const script =
    'set -euo pipefail; source "$1"; PATH=$2; for _ in 1 2; do is_ready python; command -v python3; done';
  for (const first of [shim, real]) {
    const search = `${path.dirname(first)}:/usr/bin:/bin`;
    const asked = spawnSync('bash', ['-c', script, 'bash', setup, search], { encoding: 'utf8' });
    expect(asked.stdout, asked.stderr).toBe(`${real}\n${real}\n`);
  }
});
