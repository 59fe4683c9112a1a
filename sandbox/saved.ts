import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { cacheFolder } from './folders.ts';
import type { Say } from './image.ts';
import { withLock } from './lock.ts';
import { asRoot, removeTree } from './privilege.ts';
import { removeLeftovers, removeUnused } from './prune.ts';
import { endQemu, findQemus } from './qemu.ts';

/** A host that is saved in the image's folder, to start others from. */
export type Saved = {
  /** The folder for all of its kind. */
  parent: string;
  /** Its name without the version. */
  label: string;
  /** Its version: a hash of everything that its content depends on. */
  key: string;
  /** Another one of its kind, if it contains only the difference from that. */
  base?: string;
};

/** The folder of a saved host; `make` creates it, in a separate folder, if it is missing. */
export async function provideSaved(
  { parent, label, key, base = '' }: Saved,
  say: Say,
  make: (work: string) => Promise<void>,
): Promise<string> {
  const folder = join(parent, `${label}-${key}`);
  if (isWhole(folder)) return folder;
  const waiting = () => say('waiting for another process that makes a snapshot');
  await withLock(join(cacheFolder(), `${basename(parent)}.lock`), waiting, async () => {
    if (isWhole(folder)) return;
    mkdirSync(parent, { recursive: true });
    await endLeftovers(parent);
    removeLeftovers(parent);
    removeTree(folder);
    const work = mkdtempSync(join(parent, BUILDING));
    try {
      await make(work);
      writeFileSync(join(work, BASE), base);
      renameSync(work, folder);
    } finally {
      removeTree(work);
    }
    for (const name of readdirSync(parent)) {
      const other = join(parent, name);
      const outdated = name.startsWith(`${label}-`) && other !== folder;
      if (outdated || baseOf(other) === basename(folder)) removeUnused(other);
    }
  });
  return folder;
}

/** Ends the hosts of killed builds: the holder of the lock is the only build that runs. */
async function endLeftovers(parent: string): Promise<void> {
  for (const name of readdirSync(parent).filter((each) => each.startsWith(BUILDING))) {
    const work = join(parent, name);
    for (const pid of findQemus(`${work}/`)) await endQemu(pid, `${work}/`);
    const container = join(work, 'container');
    if (existsSync(container)) await asRoot('remove', [container]);
  }
}

const BUILDING = 'building-';

/** It contains only the difference from another one, and is useless without it. */
const BASE = 'base';

function baseOf(folder: string): string | undefined {
  try {
    return readFileSync(join(folder, BASE), 'utf8');
  } catch {
    return undefined;
  }
}

function isWhole(folder: string): boolean {
  const base = baseOf(folder);
  return base !== undefined && existsSync(join(dirname(folder), base));
}
