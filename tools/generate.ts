import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { packHost } from './pack-host.ts';

const root = path.join(import.meta.dirname, '..');

/** Writes the generated sources: the host program and the version. */
function generate(): void {
  const folder = path.join(root, 'src', 'generated');
  mkdirSync(folder, { recursive: true });
  const { json, module } = packHost(root);
  writeIfChanged(path.join(folder, 'host-program.json'), json);
  writeIfChanged(path.join(folder, 'host-program.ts'), module);
  writeIfChanged(path.join(folder, 'version.ts'), versionModule());
}

/** vitest calls this before the tests of a project. */
export default generate;

function versionModule(): string {
  const { version, repository } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'));
  return [
    '// Generated from package.json by tools/generate.ts.\n',
    '/** The version of Celeriac. */\n',
    `export const version = '${version}';\n`,
    '/** The repository of Celeriac, as workflows name it. */\n',
    `export const repository = '${repository.replace(/^github:/, '')}';\n`,
  ].join('');
}

// Watchers and concurrent runs read these files: unchanged ones are not written, others at once.
function writeIfChanged(file: string, text: string): void {
  if (existsSync(file) && readFileSync(file, 'utf8') === text) return;
  const beside = `${file}.${process.pid}`;
  writeFileSync(beside, text);
  renameSync(beside, file);
}

if (import.meta.main) generate();
