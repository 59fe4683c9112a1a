import { execFile, execFileSync, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, delimiter, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import packageJson from '../../../package.json' with { type: 'json' };
import {
  nodeOf,
  packNpm,
  packSingle,
  platform,
  stageSingle,
  writeChecksums,
} from '../../../tools/package.ts';

const folder = mkdtempSync(join(tmpdir(), 'celeriac-package-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A machine with Node.js and npm, and nothing to install from. */
const offline = {
  PATH: [dirname(process.execPath), process.env.PATH ?? ''].join(delimiter),
  HOME: join(folder, 'home'),
  npm_config_offline: 'true',
  npm_config_audit: 'false',
  npm_config_fund: 'false',
  npm_config_update_notifier: 'false',
  npm_config_cache: join(folder, 'cache'),
};

const run = (
  program: string,
  words: readonly string[],
  { env = offline, cwd = folder }: { env?: Record<string, string>; cwd?: string } = {},
) => {
  const { status, stdout, stderr } = spawnSync(program, words, { env, cwd, encoding: 'utf8' });
  return { code: status, out: stdout, err: stderr };
};

describe('the npm package', () => {
  let tarball = '';
  const target = join(folder, 'empty');

  beforeAll(() => {
    tarball = packNpm(folder);
    mkdirSync(target, { recursive: true });
    mkdirSync(offline.HOME, { recursive: true });
    execFileSync('npm', ['install', '--silent', tarball], { env: offline, cwd: target });
  }, 300_000);

  test('contains the program and its texts, and nothing else', () => {
    const listed = execFileSync('tar', ['-tzf', tarball], { encoding: 'utf8' });
    expect(listed.trim().split('\n').sort()).toEqual([
      'package/LICENSE',
      'package/README.md',
      'package/cli/dist/celeriac.js',
      'package/cli/dist/host-program.json',
      'package/cli/dist/index.js',
      'package/cli/dist/licenses.txt',
      'package/cli/dist/prebuilds/linux-arm64.node',
      'package/cli/dist/prebuilds/linux-x64.node',
      'package/package.json',
    ]);
  });

  test('needs no other package', () => {
    const installed = readdirSync(join(target, 'node_modules')).filter((name) => name[0] !== '.');
    expect(installed).toEqual(['celeriac']);
    const file = join(target, 'node_modules/celeriac/package.json');
    const manifest = JSON.parse(readFileSync(file, 'utf8'));
    expect(manifest).toMatchObject({ version: packageJson.version, bin: packageJson.bin });
    expect(Object.keys(manifest).filter((key) => /ependencies|scripts|private/.test(key))).toEqual(
      [],
    );
  });

  test('runs where it is installed', () => {
    const program = join(target, 'node_modules/.bin/celeriac');
    const help = run(program, ['--help']);
    expect([help.code, help.err]).toEqual([0, '']);
    expect(help.out).toContain('rollback');
    const refused = run(program, ['rolback', '--host', 'x']);
    expect(refused.code).toBe(2);
    expect(refused.err).toContain('`celeriac rollback`?');
    expect(refused.err).not.toMatch(/^\s+at .*\(.*:\d+:\d+\)/m);
  });

  test('runs by npx from the file', () => {
    const { code, out } = run('npx', ['--yes', `./${basename(tarball)}`, '--version']);
    expect([code, out]).toEqual([0, `celeriac ${packageJson.version}\n`]);
  }, 300_000);

  test('runs by npx from the address of a release, and asks no registry', async () => {
    const asked: (string | undefined)[] = [];
    const server = createServer(({ url }, response) => {
      asked.push(url);
      response.end(readFileSync(tarball));
    });
    await once(server.listen(0, '127.0.0.1'), 'listening');
    try {
      const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
      const path = `/releases/download/v${packageJson.version}/${basename(tarball)}`;
      const env = { ...offline, npm_config_offline: 'false', npm_config_registry: origin };
      const words = ['--yes', `${origin}${path}`, '--version'];
      const { stdout } = await promisify(execFile)('npx', words, { env, cwd: folder });
      expect(stdout).toBe(`celeriac ${packageJson.version}\n`);
      expect(asked.every((url) => url === path)).toBe(true);
    } finally {
      server.close();
    }
  }, 300_000);

  test.each(['README.md', 'docs/tutorial.md', 'docs/how-to/terminal.md'])(
    'is what npx is given in %s',
    (page) => {
      const text = readFileSync(join(import.meta.dirname, '../../..', page), 'utf8');
      const { version, repository } = packageJson;
      const home = repository.replace('github:', 'https://github.com/');
      const address = `${home}/releases/download/v${version}/${basename(tarball)}`;
      const given = [...text.matchAll(/\bnpx (\S+)/g)].map(([, what = '']) => what);
      const allowed: readonly string[] = [address, `./${basename(tarball)}`];
      expect(given).toContain(address);
      // A mere name would be whatever the registry has under it.
      expect(given.filter((what) => !allowed.includes(what))).toEqual([]);
    },
  );
});

const alone = { PATH: '' };

describe('the program with its own Node.js', () => {
  const staged = join(folder, 'single');
  beforeAll(() => stageSingle(staged), 300_000);

  test('runs without any PATH, also through links', () => {
    const links = join(folder, 'links');
    mkdirSync(links);
    symlinkSync('../single/celeriac', join(links, 'relative'));
    symlinkSync(join(links, 'relative'), join(links, 'absolute'));
    for (const program of [join(staged, 'celeriac'), join(links, 'absolute')]) {
      const { code, out, err } = run(program, ['--version'], { env: alone });
      expect([code, out, err]).toEqual([0, `celeriac ${packageJson.version}\n`, '']);
    }
    const refused = run(join(staged, 'celeriac'), ['verify', '--gate', 'x'], { env: alone });
    expect(refused.code).toBe(2);
    expect(refused.err).toContain('--gate');
  });

  test('carries the addon of this platform alone, and the licenses', () => {
    expect(readdirSync(join(staged, 'lib/prebuilds'))).toEqual([`${platform}.node`]);
    for (const file of ['LICENSE', 'LICENSE.node', 'README.md', 'lib/licenses.txt']) {
      expect(existsSync(join(staged, file))).toBe(true);
    }
  });

  test('says which Node.js it carries', () => {
    const told = readFileSync(join(staged, 'lib/node.version'), 'utf8');
    const carried = spawnSync(join(staged, 'lib/node'), ['--version'], { encoding: 'utf8' });
    expect(`v${told}`).toBe(carried.stdout);
  });

  test('is an archive with a checksum', { tags: ['nightly'], timeout: 600_000 }, () => {
    const out = join(folder, 'out');
    const archive = packSingle(out);
    writeChecksums(out);
    expect(`v${nodeOf(archive)}`).toBe(process.version);
    expect(run('sha256sum', ['--check', '--strict', 'SHA256SUMS'], { cwd: out }).code).toBe(0);
    execFileSync('tar', ['-C', out, '-xzf', archive]);
    const program = join(out, `celeriac-${packageJson.version}-${platform}`, 'celeriac');
    expect(run(program, ['--version'], { env: alone }).out).toContain(packageJson.version);
  });
});
