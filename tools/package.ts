/**
 * Packs the command line from `cli/dist`, into build/package:
 *
 *   tools/package.ts            the npm package, which needs Node.js and nothing else
 *   tools/package.ts --single   an archive for this platform, with the Node.js that runs this
 *
 * Each with its checksum in SHA256SUMS there.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import packageJson from '../package.json' with { type: 'json' };
import { cliProgram } from './cli-start.ts';

const root = path.join(import.meta.dirname, '..');

/**
 * The npm package: the program with everything in it, so that it depends on no other package.
 *
 * @returns the path of the tarball
 */
export function packNpm(target: string): string {
  return inFolder(target, (stage) => {
    const { name, version, description, license, repository, bin, engines } = packageJson;
    const manifest = {
      name,
      version,
      description,
      license,
      repository,
      bin,
      engines,
    };
    writeFileSync(path.join(stage, 'package.json'), `${JSON.stringify(manifest, null, 2)}\n`);
    cpSync(path.join(root, 'cli/dist'), path.join(stage, 'cli/dist'), { recursive: true });
    copyTexts(stage);
    const words = ['pack', '--silent', '--ignore-scripts', '--pack-destination', target];
    const file = execFileSync('npm', words, { cwd: stage, encoding: 'utf8' }).trim();
    return path.join(target, file);
  });
}

/** `linux-x64`: what an archive with this Node.js is for. */
export const platform = `${process.platform}-${process.arch}`;

/**
 * The archive for this platform: the program, and the Node.js that runs this. It needs nothing on the
 * machine but `/bin/sh`.
 *
 * @returns the path of the archive
 */
export function packSingle(target: string): string {
  return inFolder(target, (stage) => {
    const name = `celeriac-${packageJson.version}-${platform}`;
    stageSingle(path.join(stage, name));
    const sorted = ['--sort=name', '--owner=0', '--group=0', '--numeric-owner', '--mtime=@0'];
    const tar = execFileSync('tar', ['-C', stage, ...sorted, '-cf', '-', name], {
      maxBuffer: 1024 ** 3,
    });
    const file = path.join(target, `${name}.tar.gz`);
    writeFileSync(file, gzipSync(tar));
    return file;
  });
}

/** Where an archive says which Node.js it contains. */
const nodeVersionFile = 'lib/node.version';

/** The version of the Node.js in an archive of {@link packSingle}, such as `24.21.0`. */
export function nodeOf(archive: string): string {
  const member = path.join(path.basename(archive, '.tar.gz'), nodeVersionFile);
  return execFileSync('tar', ['-xzOf', archive, member], { encoding: 'utf8' }).trim();
}

/** The content of that archive. */
export function stageSingle(folder: string): void {
  mkdirSync(path.join(folder, 'lib/prebuilds'), { recursive: true });
  for (const file of ['index.js', cliProgram, 'host-program.json', 'licenses.txt']) {
    copyFileSync(path.join(root, 'cli/dist', file), path.join(folder, 'lib', file));
  }
  const addon = `prebuilds/${platform}.node`;
  const carried = path.join(root, 'cli/dist', addon);
  if (existsSync(carried)) copyFileSync(carried, path.join(folder, 'lib', addon));
  copyFileSync(process.execPath, path.join(folder, 'lib/node'));
  // For the bill of materials, and for people.
  writeFileSync(path.join(folder, nodeVersionFile), `${process.versions.node}\n`);
  copyFileSync(
    path.join(path.dirname(process.execPath), '../LICENSE'),
    path.join(folder, 'LICENSE.node'),
  );
  const start = path.join(folder, 'celeriac');
  writeFileSync(start, startScript);
  for (const program of [start, path.join(folder, 'lib/node')]) chmodSync(program, 0o755);
  copyTexts(folder);
}

/** Finds its own folder, also through a link such as /usr/local/bin/celeriac, without any PATH. */
const startScript = `#!/bin/sh
self=$0
while [ -h "$self" ]; do
  for readlink in /usr/bin/readlink /bin/readlink; do
    [ -x "$readlink" ] && break
  done
  target=$("$readlink" "$self") || exit 127
  case $target in
    /*) self=$target ;;
    *) self=\${self%/*}/$target ;;
  esac
done
exec "\${self%/*}/lib/node" "\${self%/*}/lib/index.js" "$@"
`;

function copyTexts(stage: string): void {
  copyFileSync(path.join(root, 'LICENSE'), path.join(stage, 'LICENSE'));
  copyFileSync(path.join(root, 'cli/README.md'), path.join(stage, 'README.md'));
}

function inFolder<Value>(target: string, work: (stage: string) => Value): Value {
  mkdirSync(target, { recursive: true });
  const stage = mkdtempSync(path.join(target, 'stage-'));
  try {
    return work(stage);
  } finally {
    rmSync(stage, { recursive: true, force: true });
  }
}

/** A line for each package of a folder, as `sha256sum --check` reads it. */
export function writeChecksums(folder: string): void {
  const lines = readdirSync(folder)
    .filter((file) => /\.(?:tgz|tar\.gz)$/.test(file))
    .sort()
    .map((file) => {
      const hash = createHash('sha256').update(readFileSync(path.join(folder, file)));
      return `${hash.digest('hex')}  ${file}\n`;
    });
  writeFileSync(path.join(folder, 'SHA256SUMS'), lines.join(''));
}

if (import.meta.main) {
  const target = path.join(root, 'build', 'package');
  const file = process.argv.includes('--single') ? packSingle(target) : packNpm(target);
  writeChecksums(target);
  console.log(path.relative(root, file));
}
