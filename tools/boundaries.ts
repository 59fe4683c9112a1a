import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { type Import, inspect } from './inspect-module.ts';

/** A rule that a source breaks. */
export interface Violation {
  readonly file: string;
  readonly line: number;
  readonly message: string;
}

/** Folders of `src` by layer: imports point to lower layers, or sideways without a cycle. */
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

/** Folders that decide and do nothing else: no I/O, no clock, no randomness. */
const pureFolders = new Set(['model', 'celery', 'systemd', 'plan', 'jobs', 'verify', 'report']);
const pureModules = new Set(['node:path', 'node:path/posix']);
const purePackages = new Set(['diff', 'yaml', 'zod']);

/** Packages that only one folder may import. */
const packageOwners: Readonly<Record<string, string>> = {
  '@actions/core': 'action',
  '@actions/exec': 'action',
  'better-sqlite3': 'adapters',
  'node-ssh': 'adapters',
  ssh2: 'adapters',
};

const longestMain = 25;

/**
 * What in these sources breaks the one-way order of the folders or the purity of the core.
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
    for (const entry of found.imports) {
      const target = resolve(file, entry.specifier);
      if (target !== undefined) targets.push(target);
      const message = judgeImport(file, entry, target);
      if (message !== undefined) report(entry.line, message);
    }
    graph.set(file, targets);
    if (pureFolders.has(folderOf(file) ?? '')) {
      for (const use of found.impurities) {
        report(use.line, `${use.what} in src/${folderOf(file)}, which is pure: pass the value in`);
      }
    }
    if (/^(?:actions\/[^/]+|cli)\/main\.ts$/.test(file)) {
      const lines = text.trimEnd().split('\n').length;
      if (lines > longestMain) {
        report(1, `${lines} lines: at most ${longestMain}; logic belongs in src`);
      }
    }
  }
  violations.push(...findCycles(graph), ...findFolderCycles(graph));
  return violations.sort((a, b) => compare(a.file, b.file) || a.line - b.line);
}

function compare(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

/** The path that a relative specifier names; undefined for packages and `node:` modules. */
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

function judgeImport(file: string, entry: Import, target: string | undefined): string | undefined {
  const folder = folderOf(file);
  if (folder === undefined || layerOf(folder) < 0) {
    return `${file} is in no folder that the design names`;
  }
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
  if (folder === other) return undefined;
  if (layerOf(other) > layerOf(folder) || folder === 'model') {
    return `${folder} must not import ${other} ('${specifier}')`;
  }
  if (folder === 'cli' && other === 'action') {
    return `cli must not import action ('${specifier}'): that speaks to a runner`;
  }
  return undefined;
}

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

function findCycles(graph: ReadonlyMap<string, readonly string[]>): Violation[] {
  return cyclesOf(graph).map((cycle) => ({
    file: cycle[0] ?? '',
    line: 1,
    message: `a cycle of imports: ${[...cycle, cycle[0]].join(' → ')}`,
  }));
}

/** Siblings may import each other one way only: `plan → jobs` excludes `jobs → plan`. */
function findFolderCycles(graph: ReadonlyMap<string, readonly string[]>): Violation[] {
  const folders = new Map<string, string[]>();
  for (const [file, targets] of graph) {
    const from = folderOf(file);
    if (from === undefined) continue;
    const others = targets.map(folderOf).filter((to) => to !== undefined && to !== from);
    folders.set(from, [...(folders.get(from) ?? []), ...(others as string[])]);
  }
  return cyclesOf(folders).map((cycle) => ({
    file: `src/${cycle[0]}`,
    line: 1,
    message: `folders import each other in a circle: ${[...cycle, cycle[0]].join(' → ')}`,
  }));
}

/** The cycles that a depth-first walk meets, each once, in the order of the names. */
function cyclesOf(graph: ReadonlyMap<string, readonly string[]>): string[][] {
  const cycles: string[][] = [];
  const done = new Set<string>();
  const visit = (node: string, trail: readonly string[]): void => {
    const start = trail.indexOf(node);
    if (start >= 0) {
      cycles.push(trail.slice(start));
      return;
    }
    if (done.has(node)) return;
    for (const next of new Set(graph.get(node) ?? [])) visit(next, [...trail, node]);
    done.add(node);
  };
  for (const node of [...graph.keys()].sort()) visit(node, []);
  return cycles;
}

function readSources(root: string): Map<string, string> {
  const files = globSync(['src/**/*.ts', 'actions/*/*.ts', 'cli/*.ts'], { cwd: root })
    .map((file) => file.split(path.sep).join('/'))
    .filter((file) => !file.endsWith('.d.ts'))
    .sort();
  return new Map(files.map((file) => [file, readFileSync(path.join(root, file), 'utf8')]));
}

if (import.meta.main) {
  const sources = readSources(path.join(import.meta.dirname, '..'));
  const violations = findViolations(sources);
  for (const { file, line, message } of violations) console.error(`${file}:${line}: ${message}`);
  console.log(`boundaries: ${sources.size} files, ${violations.length} violations`);
  process.exitCode = violations.length > 0 || sources.size === 0 ? 1 : 0;
}
