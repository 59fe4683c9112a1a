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

/** A host that was saved in the image's folder, to start others from. */
export type Saved = {
  /** Where all of its kind are. */
  parent: string;
  /** What it is called, whatever its version. */
  label: string;
  /** Its version: everything that decides what is in it. */
  key: string;
  /** Another of its kind that it holds only the difference to. */
  base?: string;
};

/** The folder of what is saved, made by `make` (in a folder of its own) if it is not there. */
export async function provideSaved(
  { parent, label, key, base = '' }: Saved,
  say: Say,
  make: (work: string) => Promise<void>,
): Promise<string> {
  const folder = join(parent, `${label}-${key}`);
  if (isWhole(folder)) return folder;
  const waiting = () => say('another process is making a snapshot: waiting for it');
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

/** Ends the hosts of builders that were killed: whoever holds the lock is the only one at work. */
async function endLeftovers(parent: string): Promise<void> {
  for (const name of readdirSync(parent).filter((each) => each.startsWith(BUILDING))) {
    const work = join(parent, name);
    for (const pid of findQemus(`${work}/`)) await endQemu(pid, `${work}/`);
    const container = join(work, 'container');
    if (existsSync(container)) await asRoot('remove', [container]);
  }
}

const BUILDING = 'building-';

/** It holds only what differs from another: useless without that one. */
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
