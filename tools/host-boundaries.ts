import path from 'node:path';
import { findCycles, findFolderCycles, inOrder, type Violation } from './import-cycles.ts';
import { inspectPython, type PythonImport } from './inspect-python.ts';

const packageName = 'celeriac_host';
const packageFolder = `host/${packageName}`;

/** Folders of the host program by layer: imports point to lower layers, or sideways without a cycle. */
const layers: readonly (readonly string[])[] = [
  ['system'],
  ['state', 'store', 'app', 'code'],
  ['operations', 'facts'],
  ['transaction', 'policy', 'sampler'],
  ['session'],
];

/**
 * Finds imports of the host program against the order of its folders.
 *
 * @param sources text by path from the repository's root, with `/`: `host/celeriac_host/`.
 */
export function findHostViolations(sources: ReadonlyMap<string, string>): Violation[] {
  const violations: Violation[] = [];
  const graph = new Map<string, string[]>();
  for (const [file, text] of sources) {
    const report = (line: number, message: string): void => {
      const told = violations.some((one) => one.file === file && one.line === line);
      if (!told) violations.push({ file, line, message });
    };
    const folder = folderOf(file);
    const { imports, strings, computed } = inspectPython(text);
    const named = strings
      .filter((one) => /^celeriac_host(?:\.\w+)*\.?$/.test(one.text))
      .map((one) => ({ line: one.line, target: targetOf(one.text, sources) }));
    const targets = [
      ...imports.map((one) => ({ line: one.line, target: resolve(file, one, sources) })),
      ...named,
    ].filter(({ target }) => target.startsWith(`${packageFolder}/`) || target === packageFolder);
    graph.set(
      file,
      targets.map(({ target }) => target),
    );
    const isPackage = file === `${packageFolder}/__init__.py`;
    if (!isPackage && layerOf(folder) < 0) {
      report(1, `${file} is not in a known folder`);
      continue;
    }
    for (const { line, target } of targets) {
      const other = folderOf(target);
      if (isPackage) report(line, 'the package itself imports nothing');
      else if (layerOf(other) < 0)
        report(line, `imports ${target}, which is not in a known folder`);
      else if (layerOf(other) > layerOf(folder)) report(line, `${folder} must not import ${other}`);
    }
    // A computed module name must start with the name of a folder, as a string in the same file.
    if (named.length === 0) {
      for (const line of computed) report(line, 'imports a module with an unknown name');
    }
  }
  const folders = findFolderCycles(graph, (file) => folderOf(file) || undefined);
  return inOrder([
    ...violations,
    ...findCycles(graph),
    ...folders.map((one) => ({ ...one, file: `${packageFolder}/${one.file}` })),
  ]);
}

/** `host/celeriac_host/store/sqlite.py` → `store`; empty for a file in no folder. */
function folderOf(file: string): string {
  const [folder = '', ...rest] = file.slice(packageFolder.length + 1).split('/');
  return rest.length > 0 || !folder.endsWith('.py') ? folder : '';
}

const layerOf = (folder: string): number => layers.findIndex((folders) => folders.includes(folder));

function resolve(file: string, entry: PythonImport, sources: ReadonlyMap<string, string>): string {
  const { level, module, name } = entry;
  let base = module;
  if (level > 0) {
    const folder = path.posix.join(path.posix.dirname(file), ...Array(level - 1).fill('..'));
    const dotted = folder.slice('host/'.length).replaceAll('/', '.');
    base = module === '' ? dotted : `${dotted}.${module}`;
  }
  // A name that is imported from a package may be a module in it.
  const below = name === null ? null : targetOf(`${base}.${name}`, sources);
  const isModule = below !== null && (sources.has(below) || base === packageName);
  return isModule ? below : targetOf(base, sources);
}

/** The file of a module, or its folder if there is no such file. */
function targetOf(dotted: string, sources: ReadonlyMap<string, string>): string {
  const stem = `host/${dotted.replace(/\.$/, '').replaceAll('.', '/')}`;
  const file = [`${stem}.py`, `${stem}/__init__.py`].find((one) => sources.has(one));
  return file ?? stem;
}
