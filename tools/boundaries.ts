import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { findHostViolations } from './host-boundaries.ts';
import { findCycles, findFolderCycles, inOrder, type Violation } from './import-cycles.ts';
import { type Import, inspect } from './inspect-module.ts';

/**
 * Folders of `src` by layer: imports point to lower layers, or sideways without a cycle. Only layers
 * above ports and adapters may import them.
 */
const layers: readonly (readonly string[])[] = [
  ['model', 'generated'],
  ['celery', 'systemd', 'config'],
  ['plan', 'jobs', 'verify', 'report'],
  ['ports'],
  ['adapters'],
  ['use-case'],
  ['action'],
  ['cli', 'actions'],
];

/** Subfolders, lowest first: each may import itself and lower ones. */
const subfolders: Readonly<Record<string, readonly string[]>> = {
  jobs: ['tables', 'judge', 'repair'],
};

/** Pure folders: no I/O, no clock, no randomness. */
const pureFolders = new Set(['model', 'celery', 'systemd', 'plan', 'jobs', 'verify', 'report']);
const pureModules = new Set(['node:path', 'node:path/posix']);
const purePackages = new Set([
  '@js-temporal/polyfill',
  'd3-scale',
  'd3-shape',
  'diff',
  'yaml',
  'zod',
]);

/** Folders that import nothing of `src` but these. */
const onlyImports: Readonly<Record<string, readonly string[]>> = {
  model: [],
  ports: ['model'],
  adapters: ['model', 'ports'],
};

/** Packages that only one folder may import. */
const packageOwners: Readonly<Record<string, string>> = {
  '@actions/core': 'action',
  '@actions/exec': 'action',
  '@actions/github': 'action',
  'better-sqlite3': 'adapters',
  'node-ssh': 'adapters',
  ssh2: 'adapters',
};

const longestMain = 25;

/**
 * Finds imports against the order of the folders, and impure code in pure folders.
 *
 * @param sources text by path from the repository's root, with `/`: `src/` and `actions/`.
 */
export function findViolations(sources: ReadonlyMap<string, string>): Violation[] {
  const violations: Violation[] = [];
  const graph = new Map<string, string[]>();
  for (const [file, text] of sources) {
    const found = inspect(file, text);
    const report = (line: number, message: string) => violations.push({ file, line, message });
    const targets: string[] = [];
    const folder = folderOf(file);
    if (folder === undefined || layerOf(folder) < 0) {
      report(1, `${file} is not in a known folder`);
      continue;
    }
    if (subfolders[folder]?.includes(subfolderOf(file)) === false) {
      report(1, `${file} is not in a subfolder of ${folder}: ${subfolders[folder].join(', ')}`);
    }
    for (const entry of found.imports) {
      const target = resolve(file, entry.specifier);
      if (target !== undefined) targets.push(target);
      const message = judgeImport(folder, file, entry, target);
      if (message !== undefined) report(entry.line, message);
    }
    graph.set(file, targets);
    if (pureFolders.has(folder)) {
      for (const use of found.impurities) {
        report(use.line, `${use.what} in src/${folder}, which is pure: pass the value in`);
      }
    }
    if (/^(?:actions\/[^/]+|cli)\/main\.ts$/.test(file)) {
      const lines = text.trimEnd().split('\n').length;
      if (lines > longestMain) {
        report(1, `${lines} lines, expected at most ${longestMain}: move logic to src`);
      }
    }
  }
  const cycles = findFolderCycles(graph, folderOf).map((one) => ({
    ...one,
    file: `src/${one.file}`,
  }));
  return inOrder([...violations, ...findCycles(graph), ...cycles]);
}

/** The path of a relative specifier; undefined for packages and `node:` modules. */
function resolve(file: string, specifier: string): string | undefined {
  if (!specifier.startsWith('.')) return undefined;
  return path.posix.join(path.posix.dirname(file), specifier);
}

/** `src/plan/swap.ts` → `plan`; `actions/verify/main.ts` → `actions`; `cli/main.ts` → `cli`. */
function folderOf(file: string): string | undefined {
  const [top, second, ...rest] = file.split('/');
  if (top === 'actions' || top === 'cli') return top;
  return top === 'src' && rest.length > 0 ? second : undefined;
}

function layerOf(folder: string): number {
  return layers.findIndex((folders) => folders.includes(folder));
}

function judgeImport(
  folder: string,
  file: string,
  entry: Import,
  target: string | undefined,
): string | undefined {
  return target === undefined
    ? judgePackage(folder, entry.specifier)
    : judgeFile(folder, file, entry.specifier, target);
}

function judgeFile(
  folder: string,
  file: string,
  specifier: string,
  target: string,
): string | undefined {
  const other = folderOf(target);
  if (other === undefined || layerOf(other) < 0) {
    return `imports '${specifier}', which is outside src`;
  }
  if (folder === 'actions' && other === 'actions') {
    return path.posix.dirname(file) === path.posix.dirname(target)
      ? undefined
      : `imports '${specifier}': one action must not import another`;
  }
  if (folder === other) return judgeSubfolder(folder, subfolderOf(file), subfolderOf(target));
  const allowed = onlyImports[folder];
  if (layerOf(other) > layerOf(folder) || allowed?.includes(other) === false) {
    return `${folder} must not import ${other} ('${specifier}')`;
  }
  if (folder === 'cli' && other === 'action') {
    return `cli must not import action ('${specifier}'): it needs a GitHub runner`;
  }
  return undefined;
}

function judgeSubfolder(folder: string, subfolder: string, other: string): string | undefined {
  const order = subfolders[folder];
  if (order === undefined || order.indexOf(other) <= order.indexOf(subfolder)) return undefined;
  return `${folder}/${subfolder} must not import ${folder}/${other}`;
}

/** `src/jobs/tables/mapping.ts` → `tables`. */
const subfolderOf = (file: string): string => file.split('/')[2] ?? '';

function judgePackage(folder: string, specifier: string): string | undefined {
  if (specifier.startsWith('node:')) {
    return !pureFolders.has(folder) || (folder !== 'model' && pureModules.has(specifier))
      ? undefined
      : `${folder} must not import '${specifier}': it is pure`;
  }
  const name = packageName(specifier);
  if (folder === 'model') return `model imports nothing, not even '${specifier}'`;
  const owner = packageOwners[name];
  if (owner !== undefined && owner !== folder) {
    return `${folder} must not import '${specifier}': only src/${owner} does`;
  }
  if (pureFolders.has(folder) && !purePackages.has(name)) {
    return `${folder} must not import '${specifier}': it is pure`;
  }
  return undefined;
}

function packageName(specifier: string): string {
  const parts = specifier.split('/');
  return specifier.startsWith('@') ? parts.slice(0, 2).join('/') : (parts[0] ?? specifier);
}

function readSources(root: string, patterns: readonly string[]): Map<string, string> {
  const files = globSync(patterns, { cwd: root })
    .map((file) => file.split(path.sep).join('/'))
    .filter((file) => !file.endsWith('.d.ts'))
    .sort();
  return new Map(files.map((file) => [file, readFileSync(path.join(root, file), 'utf8')]));
}

if (import.meta.main) {
  const root = path.join(import.meta.dirname, '..');
  const sources = readSources(root, ['src/**/*.ts', 'actions/*/*.ts', 'cli/*.ts']);
  const modules = readSources(root, ['host/celeriac_host/**/*.py']);
  const violations = [...findViolations(sources), ...findHostViolations(modules)];
  for (const { file, line, message } of violations) console.error(`${file}:${line}: ${message}`);
  const files = `${sources.size} TypeScript and ${modules.size} Python files`;
  console.log(`boundaries: ${files}, ${violations.length} violations`);
  const empty = sources.size === 0 || modules.size === 0;
  process.exitCode = violations.length > 0 || empty ? 1 : 0;
}
