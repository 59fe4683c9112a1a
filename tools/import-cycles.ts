/** A violation of a rule. */
export interface Violation {
  readonly file: string;
  readonly line: number;
  readonly message: string;
}

/** File → the files that it imports. */
export type ImportGraph = ReadonlyMap<string, readonly string[]>;

/** By file and line. */
export const inOrder = (violations: readonly Violation[]): Violation[] =>
  violations.toSorted((a, b) => compare(a.file, b.file) || a.line - b.line);

function compare(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

/** Files that import each other. */
export function findCycles(graph: ImportGraph): Violation[] {
  return cyclesOf(graph).map((cycle) => ({
    file: cycle[0] ?? '',
    line: 1,
    message: `import cycle: ${[...cycle, cycle[0]].join(' → ')}`,
  }));
}

/**
 * Siblings may import each other one way only: `plan → jobs` excludes `jobs → plan`. Each violation
 * names a folder instead of a file.
 */
export function findFolderCycles(
  graph: ImportGraph,
  folderOf: (file: string) => string | undefined,
): Violation[] {
  const folders = new Map<string, string[]>();
  for (const [file, targets] of graph) {
    const from = folderOf(file);
    if (from === undefined) continue;
    const others = targets.map(folderOf).filter((to) => to !== undefined && to !== from);
    folders.set(from, [...(folders.get(from) ?? []), ...(others as string[])]);
  }
  return cyclesOf(folders).map((cycle) => ({
    file: cycle[0] ?? '',
    line: 1,
    message: `folder import cycle: ${[...cycle, cycle[0]].join(' → ')}`,
  }));
}

/** The cycles that a depth-first search finds, each once, in the order of their names. */
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
