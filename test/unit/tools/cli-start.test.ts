import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { cliProgram, cliStart } from '../../../tools/cli-start.ts';

describe('the program that people start', () => {
  let folder = '';
  let home = '';

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'celeriac-start-'));
    home = join(folder, 'home');
    mkdirSync(home, { mode: 0o755 });
    writeFileSync(join(folder, 'index.js'), cliStart);
    // Node.js keeps nothing of very small programs of their own.
    writeFileSync(
      join(folder, cliProgram),
      "console.log(['ran', ...process.argv.slice(2)].join());",
    );
  });

  afterEach(() => rmSync(folder, { recursive: true }));

  const start = (env: Readonly<Record<string, string>> = {}) => {
    const options = { encoding: 'utf8', env: { HOME: home, ...env }, cwd: folder } as const;
    const words = [join(folder, 'index.js'), 'deploy', '--dry-run'];
    const { status, stdout, stderr } = spawnSync(process.execPath, words, options);
    expect([status, stdout, stderr]).toEqual([0, 'ran,deploy,--dry-run\n', '']);
  };

  const kept = (caches = join(home, '.cache')) => existsSync(join(caches, 'celeriac/compiled'));

  test('keeps what is compiled in the cache folder of its user, for nobody else', () => {
    start();
    expect(kept()).toBe(true);
    start();
    const caches = join(home, 'elsewhere');
    start({ XDG_CACHE_HOME: caches });
    expect(kept(caches)).toBe(true);
  });

  test('makes no folder outside its home, nor through a link', () => {
    const caches = join(folder, 'elsewhere');
    mkdirSync(caches);
    start({ XDG_CACHE_HOME: caches });
    expect(readdirSync(caches)).toEqual([]);
    symlinkSync(caches, join(home, 'linked'));
    start({ XDG_CACHE_HOME: join(home, 'linked') });
    expect(readdirSync(caches)).toEqual([]);
  });

  test('keeps nothing on a machine for one run, or where Node.js does already', () => {
    start({ CI: 'true' });
    start({ NODE_COMPILE_CACHE: join(folder, 'nodes') });
    expect(kept()).toBe(false);
  });

  test.each(['.cache', '.cache/celeriac', '.cache/celeriac/compiled'])(
    'uses no cache in which others can write: %s',
    (path) => {
      mkdirSync(join(home, '.cache/celeriac/compiled'), { recursive: true });
      chmodSync(join(home, path), 0o777);
      start();
      const used = spawnSync('find', [join(home, '.cache'), '-mindepth', '3'], {
        encoding: 'utf8',
      });
      expect(used.stdout).toBe('');
    },
  );

  test('starts without a home, and where it cannot write', () => {
    start({ HOME: join(folder, 'none') });
    writeFileSync(join(home, '.cache'), '');
    start();
    expect(kept()).toBe(false);
  });
});
