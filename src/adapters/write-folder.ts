import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * Writes files into a new folder, which no earlier run and no other user has prepared.
 *
 * @param name the beginning of its name
 * @returns the path of the folder
 * @throws Error when they cannot be written
 */
export function writeFolder(
  parent: string,
  name: string,
  files: Readonly<Record<string, string>>,
): string {
  mkdirSync(parent, { recursive: true });
  const folder = mkdtempSync(join(parent, `${name.replace(/[^A-Za-z0-9.@_-]/g, '-')}-`));
  for (const [file, text] of Object.entries(files)) {
    writeFileSync(join(folder, file), text, { flag: 'wx' });
  }
  return folder;
}
