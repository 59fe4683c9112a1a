import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
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
    write("console.log(['ran', ...process.argv.slice(2)].join());");
  });

  afterEach(() => rmSync(folder, { recursive: true }));

  const start = (env: Readonly<Record<string, string>> = {}) => {
    const options = { encoding: 'utf8', env: { HOME: home, ...env }, cwd: folder } as const;
    const words = [join(folder, 'index.js'), 'deploy', '--dry-run'];
    const { status, stdout, stderr } = spawnSync(process.execPath, words, options);
    expect([status, stdout, stderr]).toEqual([0, 'ran,deploy,--dry-run\n', '']);
  };

  const write = (text: string) => writeFileSync(join(folder, cliProgram), text);

  /** The files that it keeps. */
  const kept = (caches = join(home, '.cache')) => {
    const place = join(caches, 'celeriac/compiled');
    return existsSync(place) ? readdirSync(place).map((name) => join(place, name)) : [];
  };

  const onlyKept = (): string => {
    const [file = '', ...more] = kept();
    expect(more).toEqual([]);
    return file;
  };

  test('keeps what is compiled in the cache folder of its user, for nobody else', () => {
    start();
    const { mode, mtimeMs } = statSync(onlyKept());
    expect(mode & 0o777).toBe(0o600);
    start();
    // It was used, or it would have been written again.
    expect(statSync(onlyKept()).mtimeMs).toBe(mtimeMs);
    const caches = join(home, 'elsewhere');
    start({ XDG_CACHE_HOME: caches });
    expect(kept(caches)).toHaveLength(1);
  });

  test('keeps functions that are compiled when they are called, for each command', () => {
    const body = 'x = x * 3 + 1; '.repeat(500);
    write(`function f() { let x = 1; ${body} } if (process.argv[2] === 'calls') f();`);
    for (const word of ['calls', '--idle']) {
      spawnSync(process.execPath, [join(folder, 'index.js'), word], { env: { HOME: home } });
    }
    const [calls = 0, idle = 0] = kept()
      .sort()
      .map((file) => statSync(file).size);
    expect(calls).toBeGreaterThan(idle + body.length / 4);
  });

  test('runs the program that is there, and keeps nothing of another one', () => {
    write("console.log('ran,deploy,--dry-RUN');");
    spawnSync(process.execPath, [join(folder, 'index.js'), 'deploy'], { env: { HOME: home } });
    const before = onlyKept();
    mkdirSync(join(home, '.cache/celeriac/compiled/of-nodes-own'));
    // As long as that one.
    write("console.log('ran,deploy,--dry-run');");
    start();
    expect(onlyKept()).not.toBe(before);
  });

  test.each([
    ['damaged', (content: Buffer) => content.map((byte, at) => (at === 90 ? byte ^ 1 : byte))],
    ['cut off', (content: Buffer) => content.subarray(0, -9)],
    ['empty', () => Buffer.alloc(0)],
    // Its checksum is right, but Node.js refuses it.
    ['of another Node.js', () => Buffer.alloc(64)],
  ])('compiles again what is %s', (_, spoil) => {
    start();
    const whole = readFileSync(onlyKept());
    writeFileSync(onlyKept(), spoil(whole));
    start();
    expect(readFileSync(onlyKept()).length).toBeGreaterThan(64);
    const { mtimeMs } = statSync(onlyKept());
    start();
    expect(statSync(onlyKept()).mtimeMs).toBe(mtimeMs);
  });

  test('keeps nothing of a word that is no command', () => {
    write('process.exitCode = 2;');
    for (const word of ['deplyo', '../x', 'Deploy', '']) {
      const words = [join(folder, 'index.js'), word];
      const { status } = spawnSync(process.execPath, words, { env: { HOME: home } });
      expect(status).toBe(2);
    }
    expect(kept()).toEqual([]);
  });

  test('fails as its program does', () => {
    write("throw new Error('as it is');");
    const words = [join(folder, 'index.js'), 'deploy'];
    const options = { encoding: 'utf8', env: { HOME: home } } as const;
    for (const _ of ['compiled', 'kept']) {
      const { status, stderr } = spawnSync(process.execPath, words, options);
      expect([status, stderr.match(/as it is/g)?.length, stderr]).toEqual([
        1,
        2,
        expect.stringContaining(join(folder, cliProgram)),
      ]);
    }
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
    start({ NODE_DISABLE_COMPILE_CACHE: '1' });
    expect(kept()).toEqual([]);
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
    expect(kept()).toEqual([]);
  });
});
