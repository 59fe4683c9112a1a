import { createHash } from 'node:crypto';
import { chmodSync, lstatSync, mkdirSync } from 'node:fs';
import { homedir, userInfo } from 'node:os';
import { join } from 'node:path';
import { SandboxError } from './failure.ts';

/** This folder: the recipe, the states. */
export const SANDBOX_FOLDER = import.meta.dirname;

/** One folder for each running machine, in the checkout that it belongs to. */
export const INSTANCES_FOLDER = join(SANDBOX_FOLDER, '..', '.sandbox');

/** Images and snapshots; may be deleted at any time and is then rebuilt. */
export function cacheFolder(): string {
  const base =
    process.env.CELERIAC_CACHE ??
    join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'celeriac');
  const folder = join(base, 'sandbox');
  mkdirSync(folder, { recursive: true });
  return folder;
}

/**
 * A private folder for sockets with a short path: the path of a Unix socket has at most 107 bytes.
 *
 * @throws SandboxError when the folder belongs to another user.
 */
export function socketFolder(owner: string): string {
  const { uid } = userInfo();
  // Not TMPDIR: the tests have one for each run, and the next run ends the machines of a killed one.
  const parent = `/tmp/celeriac-sandbox-${uid}`;
  const folder = join(parent, digest(owner).slice(0, 10));
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const status = lstatSync(parent);
  if (!status.isDirectory() || status.uid !== uid) {
    throw new SandboxError(`${parent} does not belong to user ${uid}: remove it`);
  }
  chmodSync(parent, 0o700);
  return folder;
}

/** SHA-256 over the parts, each with its length, in hex. */
export function digest(...parts: readonly (string | Buffer)[]): string {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(`${part.length}:`).update(part);
  return hash.digest('hex');
}
