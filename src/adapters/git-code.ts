import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { isAbsolute, join, posix } from 'node:path';
import { ConfigError } from '../model/errors.ts';
import type { CommitId, CommitLog } from '../model/release.ts';
import { bytes, sha256Text } from '../model/units.ts';
import type { Code, HostHistory, Parcel } from '../ports/code.ts';

/** The most that one command may print, and so the most that can be sent. */
const OUTPUT_LIMIT_BYTES = 512 * 1024 * 1024;
const SHOWN_SUBJECTS = 20;
const INCLUDE_LIMIT = 50;
const CLONE = 'the clone of this run';
const WHOLE_CLONE = '`actions/checkout` with `fetch-depth: 0` before this step';

/** The repository that a workflow checked out, read by the git of the runner and never changed. */
export function openGitCode(workspace: string): Code {
  return new GitCode(workspace);
}

class GitCode implements Code {
  readonly #workspace: string;

  constructor(workspace: string) {
    this.#workspace = workspace;
  }

  async require(commit: string): Promise<CommitId> {
    if (!/^(?:[0-9a-f]{40}|[0-9a-f]{64})$/.test(commit)) {
      throw new ConfigError(
        'input commit',
        commit === ''
          ? 'no commit is given, and this is not a workflow run (GITHUB_SHA is not set)'
          : `\`${commit}\` is not a full commit hash`,
        'the 40 hexadecimal digits of a commit hash',
      );
    }
    await this.#commonFolder();
    if (await this.has(commit)) return commit;
    throw new ConfigError('input commit', `${CLONE} has no commit ${short(commit)}`, WHOLE_CLONE);
  }

  async head(): Promise<{ readonly commit: CommitId; readonly changed: boolean }> {
    await this.#commonFolder();
    const commit = (await this.#text(['rev-parse', '--verify', 'HEAD^{commit}'])).trim();
    const status = await this.#text(['status', '--porcelain', '--untracked-files=no']);
    return { commit, changed: status !== '' };
  }

  async has(commit: CommitId): Promise<boolean> {
    return (await this.#present([commit])).length > 0;
  }

  async bundle(commit: CommitId, host: HostHistory): Promise<Parcel | null> {
    const basis = await this.#present(host.known);
    const ownShallow = await this.#shallow();
    if (basis.length === 0 && ownShallow.length === 0) {
      throw new ConfigError(
        'input checkout',
        'the checkout on the host and this repository have no commit in common',
        'a checkout of this repository',
      );
    }
    const hostShallow = await this.#present(host.shallow);
    const folder = await mkdtemp(join(tmpdir(), 'celeriac-bundle-'));
    try {
      // A separate repository that borrows the objects: the clone gets no new ref, and history ends
      // where it ends on the host.
      const own = join(folder, 'bundle.git');
      await this.#git(['init', '--quiet', '--bare', '--template=', own], { cwd: folder });
      const objects = join(await this.#commonFolder(), 'objects');
      await writeFile(join(own, 'objects/info/alternates'), `${objects}\n`);
      const shallow = [...new Set([...ownShallow, ...hostShallow])];
      if (shallow.length > 0) await writeFile(join(own, 'shallow'), `${shallow.join('\n')}\n`);
      const inOwn = { cwd: own };
      await this.#git(['update-ref', 'refs/heads/deploy', commit], inOwn);
      const lacking = await this.#lacking(commit, basis, own);
      if (lacking.length === 0) return null;
      const atTheEnd = lacking.filter((each) => ownShallow.includes(each));
      await this.#requireParents(atTheEnd, host.known);
      const file = join(folder, 'code.bundle');
      const wanted = ['refs/heads/deploy', ...basis.map((each) => `^${each}`)];
      await this.#git(['bundle', 'create', '--quiet', file, '--stdin'], {
        ...inOwn,
        input: `${wanted.join('\n')}\n`,
      });
      return parcel('the bundle', await readFile(file));
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }

  async archive(commit: CommitId): Promise<Parcel> {
    const tree = await this.#text(['ls-tree', '-r', '--format=%(objectmode)', commit]);
    if (tree.split('\n').includes('160000')) {
      throw new ConfigError(
        'input source',
        `commit ${short(commit)} has submodules, which an archive does not contain`,
        'a repository without submodules',
      );
    }
    const words = ['-c', 'tar.umask=0022', 'archive', '--format=tar.gz', commit];
    return parcel('the archive', await this.#git(words));
  }

  async log(from: CommitId, to: CommitId): Promise<CommitLog | null> {
    if (!(await this.has(from))) return null;
    const ahead = Number(await this.#text(['rev-list', '--count', `${from}..${to}`]));
    const behind = Number(await this.#text(['rev-list', '--count', `${to}..${from}`]));
    // In a shallow history, a commit may look unrelated.
    if (behind > 0 && (await this.#shallow()).length > 0) return null;
    const range = ahead === 0 ? `${to}..${from}` : `${from}..${to}`;
    const list = ['log', `--max-count=${SHOWN_SUBJECTS}`, '--no-show-signature'];
    const lines = await this.#text([...list, '--format=%h %s', '--abbrev=7', range]);
    return {
      direction: behind === 0 ? 'forward' : ahead === 0 ? 'back' : 'aside',
      count: ahead === 0 ? behind : ahead,
      subjects: lines.split('\n').filter((line) => line !== ''),
    };
  }

  async hashLock(commit: CommitId, file: string): Promise<string | null> {
    const digest = createHash('sha256');
    const waiting = [file];
    const seen = new Set<string>();
    for (let path = waiting.shift(); path !== undefined; path = waiting.shift()) {
      if (seen.has(path) || seen.size > INCLUDE_LIMIT) continue;
      seen.add(path);
      const content = await this.#blob(commit, path);
      if (content === null && path === file) return null;
      digest.update(`${path}\0${content?.length ?? -1}\0`).update(content ?? '');
      if (!path.endsWith('.lock')) waiting.push(...includesOf(path, content?.toString() ?? ''));
    }
    return digest.digest('hex');
  }

  /** Commits of the history that the host does not have. */
  async #lacking(
    commit: CommitId,
    basis: readonly CommitId[],
    cwd: string,
  ): Promise<readonly CommitId[]> {
    const input = `${[commit, ...basis.map((each) => `^${each}`)].join('\n')}\n`;
    const listed = await this.#text(['rev-list', '--stdin'], { cwd, input });
    return listed.split('\n').filter((each) => each !== '');
  }

  /**
   * The host must have the parents of each commit at which the shallow clone ends.
   *
   * @throws ConfigError when it lacks one
   */
  async #requireParents(cutOff: readonly CommitId[], known: readonly CommitId[]): Promise<void> {
    for (const each of cutOff) {
      const raw = await this.#text(['cat-file', 'commit', each]);
      const parents = [...headersOf(raw).matchAll(/^parent (\S+)$/gm)];
      const missing = parents.map(([, parent = '']) => parent).find((id) => !known.includes(id));
      if (missing !== undefined) {
        throw new ConfigError(
          'input source',
          `${CLONE} is shallow: neither it nor the host has commit ${short(missing)}, the parent of ${short(each)}`,
          WHOLE_CLONE,
        );
      }
    }
  }

  /** Those that the clone has, in the same order. */
  async #present(commits: readonly CommitId[]): Promise<readonly CommitId[]> {
    if (commits.length === 0) return [];
    const input = `${commits.join('\n')}\n`;
    const told = await this.#text(['cat-file', '--batch-check=%(objectname) %(objecttype)'], {
      input,
    });
    const there = told.split('\n').filter((line) => line.endsWith(' commit'));
    return there.map((line) => line.split(' ')[0] ?? '');
  }

  async #shallow(): Promise<readonly CommitId[]> {
    try {
      const text = await readFile(join(await this.#commonFolder(), 'shallow'), 'utf8');
      return text.split('\n').filter((line) => line !== '');
    } catch {
      return [];
    }
  }

  async #commonFolder(): Promise<string> {
    let found: string;
    try {
      found = (await this.#text(['rev-parse', '--git-common-dir'])).trim();
    } catch (cause) {
      throw new ConfigError(
        'input source',
        `there is no git repository in ${this.#workspace}`,
        '`actions/checkout` before this step',
        { cause },
      );
    }
    return isAbsolute(found) ? found : join(this.#workspace, found);
  }

  async #blob(commit: CommitId, path: string): Promise<Buffer | null> {
    try {
      return await this.#git(['cat-file', 'blob', `${commit}:${path}`]);
    } catch {
      return null;
    }
  }

  async #text(words: readonly string[], options: RunOptions = {}): Promise<string> {
    return (await this.#git(words, options)).toString('utf8');
  }

  #git(words: readonly string[], options: RunOptions = {}): Promise<Buffer> {
    return runGit(words, { cwd: this.#workspace, ...options });
  }
}

interface RunOptions {
  readonly cwd?: string;
  readonly input?: string;
}

/** A runner may work in a folder that another user owns, e.g. in a container. */
const settings = ['-c', 'safe.directory=*', '-c', 'core.fsmonitor=false', '-c', 'gc.auto=0'];

function runGit(words: readonly string[], { cwd, input }: RunOptions): Promise<Buffer> {
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('GIT_'));
  return new Promise((resolve, reject) => {
    const child = execFile(
      'git',
      [...settings, ...words],
      {
        cwd,
        encoding: 'buffer',
        maxBuffer: OUTPUT_LIMIT_BYTES,
        env: {
          ...Object.fromEntries(inherited),
          LC_ALL: 'C',
          GIT_NO_LAZY_FETCH: '1',
          GIT_NO_REPLACE_OBJECTS: '1',
          GIT_TERMINAL_PROMPT: '0',
        },
      },
      (error, stdout, stderr) => {
        if (error === null) resolve(stdout);
        else reject(explain(words, error, stderr.toString('utf8')));
      },
    );
    // If git exits before it has read everything, its exit code tells why.
    child.stdin?.on('error', () => {});
    child.stdin?.end(input ?? '');
  });
}

function explain(words: readonly string[], error: Error, stderr: string): ConfigError {
  const code = 'code' in error ? error.code : undefined;
  const [why = error.message] = stderr.split('\n').filter((line) => line !== '');
  return new ConfigError(
    'input source',
    code === 'ENOENT'
      ? 'git is not installed on this runner'
      : `\`git ${words.find((word) => /^[a-z]/.test(word) && !word.includes('.'))}\` failed on this runner: ${why}`,
    `git, and ${WHOLE_CLONE}`,
    { cause: error },
  );
}

function parcel(title: string, content: Buffer): Parcel {
  return {
    title,
    content,
    sizeBytes: bytes(content.length),
    sha256: sha256Text(createHash('sha256').update(content).digest('hex')),
  };
}

/** Files that a requirements file includes: `-r base.txt`, `--constraint=pins.txt`. */
function includesOf(path: string, text: string): readonly string[] {
  const pattern = /^\s*(?:-[rc]\s*|--(?:requirement|constraint)[\s=]\s*)([^\s#]+)/gm;
  return [...text.matchAll(pattern)]
    .map(([, name = '']) => name)
    .filter((name) => !/^[a-z]+:\/\//i.test(name) && !name.startsWith('/'))
    .map((name) => posix.normalize(posix.join(posix.dirname(path), name)))
    .filter((name) => !name.startsWith('..'));
}

/** The headers of a raw commit, before its message. */
const headersOf = (raw: string): string => raw.split('\n\n', 1)[0] ?? '';
const short = (commit: CommitId): string => commit.slice(0, 7);
