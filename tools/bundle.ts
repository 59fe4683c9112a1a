import { spawnSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import ncc from '@vercel/ncc';
import { cliProgram, cliStart } from './cli-start.ts';
import { postFolders, postProgram } from './post-step.ts';

/** A file of a bundle, with its path relative to the repository, with `/`. */
export interface BundleFile {
  readonly path: string;
  readonly content: Buffer;
  readonly mode: number;
}

/** The entry point of an action: its source, and the program that the runner starts. */
const entries = [{ source: 'main', program: 'index.js', licenses: 'licenses.txt' }] as const;

/** Files that ncc copies but a Linux runner cannot use: ssh2's helper for Windows. */
const unwanted = new Set(['pagent.exe']);

/** The folders with a program: the actions and the command line. */
function programFolders(root: string): string[] {
  return globSync(['actions/*/main.ts', 'cli/main.ts'], { cwd: root }).map(path.dirname).sort();
}

/**
 * @actions/core requests OIDC tokens over HTTP, which nothing here asks it to (test/unit/bundles.test.ts). Without that client and
 * its undici, a megabyte, and without ssh2's agents for HTTP through a connection, programs start sooner:
 * what stands in for them is loaded in any case, and is never called.
 */
const withoutHttp = {
  '@actions/http-client': 'node:events',
  '@actions/http-client/lib/auth': 'node:events',
  './http-agents.js': 'node:events',
};

/** The actions that talk to GitHub, by @actions/github, which needs that client. */
const callGithub = new Set(['actions/plan-comment', 'actions/soak-issue']);

/**
 * Builds every file of every program's `dist` from the sources.
 *
 * tsc compiles to JavaScript, then ncc bundles that: ncc's own TypeScript loader would need the old
 * compiler. The output is CommonJS (ssh2 and better-sqlite3 use `__dirname`), is not minified, so
 * that people can read it, and contains no path of the machine that built it.
 *
 * @throws Error when the sources do not compile or cannot be bundled.
 */
export async function bundlePrograms(root: string): Promise<BundleFile[]> {
  mkdirSync(path.join(root, 'build'), { recursive: true });
  const compiled = mkdtempSync(path.join(root, 'build', 'run-'));
  const before = process.cwd();
  try {
    compile(root, compiled);
    // ncc names modules by their path relative to the working directory: keep it the same everywhere.
    process.chdir(compiled);
    const files: BundleFile[] = [];
    for (const folder of programFolders(root)) {
      files.push(...(await bundleProgram(compiled, folder)));
    }
    return files;
  } finally {
    process.chdir(before);
    rmSync(compiled, { recursive: true, force: true });
  }
}

/** Replaces each program's `dist` with these files. */
export function writeBundles(root: string, files: readonly BundleFile[]): void {
  for (const folder of programFolders(root)) {
    rmSync(path.join(root, folder, 'dist'), { recursive: true, force: true });
  }
  for (const file of files) {
    const target = path.join(root, file.path);
    mkdirSync(path.dirname(target), { recursive: true });
    writeFileSync(target, file.content, { mode: file.mode });
  }
}

function compile(root: string, output: string): void {
  const compiler = path.join(root, 'node_modules', 'typescript', 'bin', 'tsc');
  const { status } = spawnSync(
    process.execPath,
    [compiler, '-p', path.join(root, 'tsconfig.build.json'), '--outDir', output],
    { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] },
  );
  if (status !== 0) throw new Error('the sources do not compile: see above');
  // ncc carries it beside each bundle that reads it.
  const carried = 'src/generated/host-program.json';
  copyFileSync(path.join(root, carried), path.join(output, carried));
}

async function bundleProgram(compiled: string, folder: string): Promise<BundleFile[]> {
  const files = new Map<string, BundleFile>();
  for (const entry of entries) {
    const source = path.join(compiled, folder, `${entry.source}.js`);
    if (!existsSync(source)) continue;
    const bundle = await ncc(source, {
      cache: false,
      externals: callGithub.has(folder) ? {} : withoutHttp,
      filename: entry.program,
      license: entry.licenses,
      minify: false,
      quiet: true,
      sourceMap: false,
      target: 'es2024',
    });
    const add = (file: string, content: string | Buffer, mode: number) => {
      const target = `${folder}/dist/${file}`;
      files.set(target, { path: target, content: Buffer.from(content), mode });
    };
    if (folder === 'cli') {
      // People start it by its name, so it must be executable.
      add(entry.program, cliStart, 0o755);
      add(cliProgram, bundle.code, 0o644);
    } else add(entry.program, bundle.code, 0o644);
    for (const [file, asset] of Object.entries(bundle.assets)) {
      if (!unwanted.has(file)) add(file, asset.source, 0o644);
    }
  }
  if (postFolders.has(folder)) {
    const target = `${folder}/dist/post.js`;
    files.set(target, { path: target, content: Buffer.from(postProgram), mode: 0o644 });
  }
  return [...files.values()].sort((a, b) => (a.path < b.path ? -1 : 1));
}
