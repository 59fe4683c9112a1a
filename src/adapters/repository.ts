import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { type FileHandle, lstat, mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ConfigError } from '../model/errors.ts';

/** A file to write, by its path in the repository. */
export interface RepositoryFile {
  readonly path: string;
  readonly text: string;
}

/** The checkout of a person, in which files are written; Git itself is only asked. */
export interface Repository {
  /** Its top folder. */
  readonly root: string;
  /** The branch that is deployed. */
  readonly branch: string;
  /** Whether it has this commit. */
  hasCommit(commit: string): Promise<boolean>;
  /** The text of a file; `null`: there is none. @throws ConfigError when it is no text file */
  read(path: string): Promise<string | null>;
  /** Writes each file whole or not at all, in this order. @throws ConfigError */
  write(files: readonly RepositoryFile[]): Promise<void>;
}

/**
 * The repository that contains a folder.
 *
 * @throws ConfigError when there is none
 */
export async function openRepository(folder: string): Promise<Repository> {
  const top = await git(folder, ['rev-parse', '--show-toplevel']);
  if (top.code !== 0 || top.out === '') {
    const why = top.missing ? 'git is not installed' : `${folder} is not in a Git repository`;
    const expected = 'the checkout of your app: `git clone` it, or `git init` in its folder';
    throw new ConfigError('repository', why, expected);
  }
  const root = top.out;
  return {
    root,
    branch: await branchOf(root),
    hasCommit: async (commit) =>
      /^[0-9a-f]{40,64}$/.test(commit) &&
      (await git(root, ['cat-file', '-e', `${commit}^{commit}`])).code === 0,
    read: (path) => readText(root, path),
    write: (files) => writeAll(root, files),
  };
}

/** The default branch of the remote, else main or master, else the one that is checked out. */
async function branchOf(root: string): Promise<string> {
  const remote = await git(root, ['symbolic-ref', '--short', 'refs/remotes/origin/HEAD']);
  if (remote.code === 0) return remote.out.replace(/^origin\//, '');
  const known: string[] = [];
  for (const name of ['main', 'master']) {
    const found = await git(root, ['rev-parse', '--verify', '--quiet', `refs/heads/${name}`]);
    if (found.code === 0) known.push(name);
  }
  const [only] = known;
  if (only !== undefined && known.length === 1) return only;
  const head = await git(root, ['symbolic-ref', '--short', 'HEAD']);
  return head.code === 0 && head.out !== '' ? head.out : 'main';
}

async function readText(root: string, path: string): Promise<string | null> {
  const whole = join(root, path);
  const found = await lstat(whole).catch(() => null);
  if (found === null) return null;
  if (!found.isFile()) throw new ConfigError(path, 'not a regular file', 'a file, or none');
  return await readFile(whole, 'utf8');
}

/** All of them are complete on the disk before the first has its name. */
async function writeAll(root: string, files: readonly RepositoryFile[]): Promise<void> {
  const mark = randomBytes(6).toString('hex');
  const placed = files.map(({ path, text }) => {
    const whole = join(root, path);
    return { path, text, whole, temporary: `${whole}.celeriac-${mark}` };
  });
  try {
    for (const { whole, temporary, text } of placed) {
      await mkdir(dirname(whole), { recursive: true });
      await writeNew(temporary, text);
    }
    for (const { whole, temporary } of placed) await rename(temporary, whole);
  } catch (cause) {
    const problem = `cannot be written: ${(cause as Error).message}`;
    throw new ConfigError(root, problem, 'a repository that you can write to', { cause });
  } finally {
    for (const { temporary } of placed) await rm(temporary, { force: true }).catch(() => {});
  }
}

async function writeNew(path: string, text: string): Promise<void> {
  let file: FileHandle | null = null;
  try {
    file = await open(path, 'wx', 0o644);
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file?.close();
  }
}

interface Asked {
  readonly code: number;
  readonly out: string;
  readonly missing: boolean;
}

function git(folder: string, words: readonly string[]): Promise<Asked> {
  return new Promise((resolve) => {
    execFile('git', ['-C', folder, ...words], (error, out) => {
      const missing = error !== null && 'code' in error && error.code === 'ENOENT';
      resolve({ code: error === null ? 0 : 1, out: out.trim(), missing });
    });
  });
}
