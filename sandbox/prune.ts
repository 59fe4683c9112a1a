import { readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { removeTree } from './privilege.ts';

/** Kept so that switching between two branches does not rebuild the image each time. */
const OLD_IMAGES_KEPT = 1;

/** Removes unused images (with their snapshots), except the newest old one. */
export function pruneImages(current: string): void {
  const cache = dirname(current);
  const old = readdirSync(cache, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => join(cache, entry.name))
    .filter((folder) => folder !== current)
    .sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs);
  for (const folder of old.slice(OLD_IMAGES_KEPT)) removeUnused(folder);
}

/** Removes a folder of the cache unless it is on the command line of a running machine. */
export function removeUnused(folder: string): void {
  if (!commandLines().some((line) => line.includes(folder))) {
    removeTree(folder);
  }
}

/** Removes leftovers of killed builds. The caller must hold the lock of the builds. */
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
        return ''; // it has exited
      }
    });
}
