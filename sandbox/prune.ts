import { readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { removeTree } from './privilege.ts';

/** So that switching between two branches does not build twice a day. */
const OLD_IMAGES_KEPT = 1;

/** Removes the images (with their snapshots) that nobody uses, but for the newest old one. */
export function pruneImages(current: string): void {
  const cache = dirname(current);
  const old = readdirSync(cache, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => join(cache, entry.name))
    .filter((folder) => folder !== current)
    .sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs);
  for (const folder of old.slice(OLD_IMAGES_KEPT)) removeUnused(folder);
}

/** Removes a folder of the cache unless a running machine has it on its command line. */
export function removeUnused(folder: string): void {
  if (!commandLines().some((line) => line.includes(folder))) {
    removeTree(folder);
  }
}

/** Removes what builders left that were killed. Call it with their lock held. */
export function removeLeftovers(folder: string): void {
  for (const name of readdirSync(folder)) {
    if (name.startsWith('building-')) removeUnused(join(folder, name));
  }
}

function commandLines(): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
      } catch {
        return ''; // it ended meanwhile
      }
    });
}
