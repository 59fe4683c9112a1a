/**
 * Writes the files of a release into a folder: `node tools/release-files.ts v1.2.3 FOLDER`.
 *
 * The npm package, the bill of materials of what is in bundles and archives (CycloneDX), the notes
 * from the changelog, and the checksums of all, also of what is in the folder already: archives of
 * platforms.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import packageJson from '../package.json' with { type: 'json' };
import { type Bill, billOf, type Lock } from './bill.ts';
import { nodeOf, packNpm } from './package.ts';
import { readNotes } from './release-notes.ts';

const root = join(import.meta.dirname, '..');

/** `sha256sum --check` reads these lines. */
export const checksumsOf = (files: ReadonlyMap<string, Buffer>): string =>
  [...files]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, content]) => `${createHash('sha256').update(content).digest('hex')}  ${name}\n`)
    .join('');

/** Of everything that is in the bundles, and in the archives of a folder. */
export function readBill(folder: string): Bill {
  const sbom = execFileSync(
    'npm',
    ['sbom', '--sbom-format', 'cyclonedx', '--sbom-type', 'application'],
    { cwd: root, encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 },
  );
  const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as Lock;
  const archives = readdirSync(folder)
    .filter((file) => file.endsWith('.tar.gz'))
    .map((file) => ({ file, node: nodeOf(join(folder, file)) }));
  return billOf(JSON.parse(sbom) as Bill, lock, packageJson.name, archives);
}

function main(tag: string, folder: string): void {
  const notes = readNotes(root, tag);
  mkdirSync(folder, { recursive: true });
  packNpm(folder);
  writeFileSync(join(folder, 'sbom.cdx.json'), `${JSON.stringify(readBill(folder), null, 2)}\n`);
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
