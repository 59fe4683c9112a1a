import {
  chmodSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statfsSync,
} from 'node:fs';
import path from 'node:path';

const memory = '/dev/shm';
const leastFree = 2 * 1024 ** 3;

/**
 * Makes the folder for everything temporary of a run of the tests, with the rights of /tmp. Before
 * that it removes those of runs that were killed.
 *
 * The owner is in the name: its process namespace, because another container may share the folder,
 * and its process. All of it is short, because the path of a Unix socket has at most 107 bytes.
 */
export function makeScratch(): string {
  const parent = choosePlace();
  removeLeftovers(parent);
  const folder = mkdtempSync(path.join(parent, `${prefix()}${process.pid}-`));
  chmodSync(folder, 0o1777);
  return folder;
}

/**
 * vitest calls this before the tests, and what it returns after them: TMPDIR is of this run alone, and
 * so is the folder where Node.js keeps what it has compiled. Tests start hundreds of programs, and up
 * to half of the time of each is the compilation of the same sources.
 */
export default function setup(): () => void {
  const folder = makeScratch();
  const restore = [
    setVariable('TMPDIR', folder),
    setVariable('NODE_COMPILE_CACHE', path.join(folder, 'compiled')),
  ];
  return () => {
    for (const each of restore) each();
    removeScratch(folder);
  };
}

function setVariable(name: string, value: string): () => void {
  const before = process.env[name];
  process.env[name] = value;
  return () => {
    if (before === undefined) delete process.env[name];
    else process.env[name] = before;
  };
}

/** Removes what it may: a test that was killed may leave a mounted disk, or files of root. */
export function removeScratch(folder: string): void {
  try {
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  } catch (error) {
    console.error(`cannot remove ${folder}: ${(error as Error).message}`);
  }
}

/** In memory if possible, because Git and the host program call fsync thousands of times. */
function choosePlace(): string {
  // Not TMPDIR: it may be the folder of a run that started this one.
  return isRoomy() && isExecutable() ? memory : '/tmp';
}

function isRoomy(): boolean {
  try {
    const { bavail, bsize } = statfsSync(memory);
    return bavail * bsize >= leastFree;
  } catch {
    return false;
  }
}

/** The tests execute programs that they write. Containers often mount it `noexec`. */
function isExecutable(): boolean {
  const mounts = readFileSync('/proc/self/mounts', 'utf8').split('\n');
  const found = mounts.map((line) => line.split(' ')).findLast(([, place]) => place === memory);
  return found !== undefined && !found[3]?.split(',').includes('noexec');
}

function prefix(): string {
  const namespace = /\d+/.exec(readlinkSync('/proc/self/ns/pid'))?.[0] ?? '';
  return `celeriac-tests-${Number(namespace).toString(36)}-`;
}

function removeLeftovers(parent: string): void {
  const start = prefix();
  for (const name of readdirSync(parent).filter((each) => each.startsWith(start))) {
    const owner = Number.parseInt(name.slice(start.length), 10);
    if (!isRunning(owner)) removeScratch(path.join(parent, name));
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // Somebody else's.
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
