import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { inOrder, type Violation } from './import-cycles.ts';
import { childrenOf, type Node, parse } from './inspect-module.ts';

interface Exported {
  readonly name: string;
  readonly start: number;
  readonly isType: boolean;
}

/** Files and what others import from them; `*`: everything. */
type Imported = Map<string, Set<string>>;

/**
 * Exports that no other file imports. A type may be exported for what its own file exports with it; a
 * default export is what a tool finds by the name of the file.
 *
 * @param sources text by path from the repository's root, with `/`: every file that may import
 */
export function findUnusedExports(sources: ReadonlyMap<string, string>): Violation[] {
  const programs = [...sources].map(([file, text]) => ({ file, text, program: parse(file, text) }));
  const imported: Imported = new Map();
  for (const { file, program } of programs) collectImported(file, program, imported);
  return inOrder(
    programs.flatMap(({ file, text, program }) => {
      const names = imported.get(file);
      if (names?.has('*')) return [];
      return exportsOf(program)
        .filter(({ name }) => name !== 'default' && !names?.has(name))
        .filter(({ name, isType }) => !isType || mentions(program, name) < 2)
        .map(({ name, start }) => ({
          file,
          line: text.slice(0, start).split('\n').length,
          message: `no other file imports ${name}: do not export it, or remove it`,
        }));
    }),
  );
}

const nodesOf = (value: unknown): readonly Node[] => (value ?? []) as readonly Node[];

const nameOf = (node: unknown): string => {
  const { name, value } = node as { readonly name?: string; readonly value?: string };
  return name ?? value ?? '';
};

function exportsOf(program: Node): Exported[] {
  return nodesOf(program.body).flatMap((node) => {
    if (node.type !== 'ExportNamedDeclaration') return [];
    const named = nodesOf(node.specifiers).map(({ start, exported }) => ({
      name: nameOf(exported),
      start,
      isType: false,
    }));
    const declaration = node.declaration as Node | null;
    if (declaration === null) return named;
    const declared =
      declaration.declarations === undefined ? [declaration] : declaration.declarations;
    const isType = /^TS(?:Interface|TypeAlias)Declaration$/.test(declaration.type);
    return nodesOf(declared).map(({ id, start }) => ({ name: nameOf(id), start, isType }));
  });
}

function collectImported(file: string, node: Node, imported: Imported): void {
  const { value } = (node.source ?? {}) as { readonly value?: unknown };
  if (typeof value === 'string' && value.startsWith('.')) {
    const target = path.posix.join(path.posix.dirname(file), value);
    const names = imported.get(target) ?? new Set();
    for (const name of importedBy(node)) names.add(name);
    imported.set(target, names);
  }
  for (const child of childrenOf(node)) collectImported(file, child, imported);
}

function importedBy(node: Node): readonly string[] {
  // `import()` and `export *` may use everything.
  if (node.specifiers === undefined) return ['*'];
  return nodesOf(node.specifiers).map((one) => {
    if (one.type === 'ImportSpecifier') return nameOf(one.imported);
    return one.type === 'ExportSpecifier' ? nameOf(one.local) : '*';
  });
}

function mentions(node: Node, name: string): number {
  const own = node.type === 'Identifier' && node.name === name ? 1 : 0;
  return childrenOf(node).reduce((sum, child) => sum + mentions(child, name), own);
}

if (import.meta.main) {
  const root = path.join(import.meta.dirname, '..');
  const options = ['ls-files', '--cached', '--others', '--exclude-standard', '-z', '*.ts', '*.mts'];
  const files = execFileSync('git', options, { cwd: root, encoding: 'utf8' })
    .split('\0')
    .filter((file) => file !== '' && !file.endsWith('.d.ts') && existsSync(path.join(root, file)));
  const read = (file: string) => readFileSync(path.join(root, file), 'utf8');
  const unused = findUnusedExports(new Map(files.map((file) => [file, read(file)])));
  for (const { file, line, message } of unused) console.error(`${file}:${line}: ${message}`);
  console.log(`unused exports: ${files.length} files, ${unused.length} found`);
  process.exitCode = unused.length > 0 || files.length === 0 ? 1 : 0;
}
