/**
 * Writes the files of a release into a folder: `node tools/release-files.ts v1.2.3 FOLDER`.
 *
 * The npm package, the archive with Node.js for this platform, the bill of materials of what is in the bundles (CycloneDX), the notes from the
 * changelog, and the checksums of all.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { packNpm, packSingle } from './package.ts';
import { readNotes } from './release-notes.ts';

const root = join(import.meta.dirname, '..');

/** `sha256sum --check` reads these lines. */
export const checksumsOf = (files: ReadonlyMap<string, Buffer>): string =>
  [...files]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, content]) => `${createHash('sha256').update(content).digest('hex')}  ${name}\n`)
    .join('');

function main(tag: string, folder: string): void {
  const notes = readNotes(root, tag);
  mkdirSync(folder);
  const npm = (...words: string[]): string =>
    execFileSync('npm', words, { cwd: root, encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 });
  packNpm(folder);
  packSingle(folder);
  // Tools of development are in no bundle.
  const sbom = npm(
    'sbom',
    '--sbom-format',
    'cyclonedx',
    '--sbom-type',
    'application',
    '--omit',
    'dev',
  );
  writeFileSync(join(folder, 'sbom.cdx.json'), sbom);
  const files = readdirSync(folder).map(
    (name) => [name, readFileSync(join(folder, name))] as const,
  );
  writeFileSync(join(folder, 'SHA256SUMS'), checksumsOf(new Map(files)));
  // Not a file of the release: its text.
  writeFileSync(join(folder, 'notes.md'), notes);
  console.log(readdirSync(folder).join('\n'));
}

if (import.meta.main) {
  const [tag = '', folder = 'release'] = process.argv.slice(2);
  try {
    main(tag, resolve(folder));
  } catch (error) {
    console.error(`release-files: ${(error as Error).message}`);
    process.exitCode = 1;
  }
}
