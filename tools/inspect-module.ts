import { parseAst } from 'rolldown/parseAst';

/** An import or re-export, of values or of types. */
export interface Import {
  readonly specifier: string;
  readonly line: number;
}

/** A use of a global that makes the result depend on more than the arguments. */
export interface Impurity {
  readonly what: string;
  readonly line: number;
}

interface Inspection {
  readonly imports: readonly Import[];
  readonly impurities: readonly Impurity[];
}

/** A node of the syntax tree: ESTree with TypeScript's additions. */
export interface Node {
  readonly type: string;
  readonly start: number;
  readonly [field: string]: unknown;
}

type Scopes = readonly ReadonlySet<string>[];

/** Globals that give access to the clock, the environment or I/O. */
const impureGlobals = new Set([
  'console',
  'crypto',
  'fetch',
  'globalThis',
  'performance',
  'process',
  'require',
  'setImmediate',
  'setInterval',
  'setTimeout',
]);

/**
 * The imports of a TypeScript module, and the impure globals that it uses.
 *
 * @throws Error that names the file when it does not parse.
 */
export function inspect(file: string, text: string): Inspection {
  const program = parse(file, text);
  const lineOf = (node: Node) => text.slice(0, node.start).split('\n').length;
  const imports: Import[] = [];
  collectImports(program, (specifier, node) => imports.push({ specifier, line: lineOf(node) }));
  const impurities: Impurity[] = [];
  findImpurities(program, [], (what, node) => impurities.push({ what, line: lineOf(node) }));
  return { imports, impurities };
}

/** @throws Error that names the file when it does not parse. */
export function parse(file: string, text: string): Node {
  try {
    return parseAst(text, { lang: 'ts', sourceType: 'module' }, file) as unknown as Node;
  } catch (cause) {
    throw new Error(`${file} does not parse: ${(cause as Error).message}`, { cause });
  }
}

function isNode(value: unknown): value is Node {
  return typeof value === 'object' && value !== null && 'type' in value && 'start' in value;
}

export function childrenOf(node: Node): Node[] {
  return Object.values(node).flat().filter(isNode);
}

function collectImports(node: Node, report: (specifier: string, node: Node) => void): void {
  const source = node.source as { readonly value?: unknown } | null | undefined;
  if (typeof source?.value === 'string') report(source.value, node);
  for (const child of childrenOf(node)) collectImports(child, report);
}

function findImpurities(
  node: Node,
  outer: Scopes,
  report: (what: string, node: Node) => void,
): void {
  if (isTypeOnly(node)) return;
  const scopes = [...outer, namesDeclaredIn(node)];
  const what = impurityOf(node, scopes);
  if (what !== undefined) {
    report(what, node);
    return;
  }
  for (const child of evaluatedChildren(node, scopes)) findImpurities(child, scopes, report);
}

function isTypeOnly(node: Node): boolean {
  const wrapsExpression = 'expression' in node;
  return (node.type.startsWith('TS') && !wrapsExpression) || node.type === 'ImportDeclaration';
}

/** The children that are evaluated, without property names and allowed uses of Date and Math. */
function evaluatedChildren(node: Node, scopes: Scopes): Node[] {
  if (node.type.startsWith('TS')) return [node.expression].filter(isNode);
  return childrenOf(node).filter((child) => {
    if (child === node.property || child === node.key) return node.computed === true;
    if (node.type === 'ExportSpecifier') return false;
    return !isAllowedUse(node, child, scopes);
  });
}

/** `new Date(x)`, `Date.parse`, `x instanceof Date` and `Math.max` are pure. */
function isAllowedUse(parent: Node, child: Node, scopes: Scopes): boolean {
  if (isGlobal(child, 'Date', scopes)) {
    const isConversion =
      parent.type === 'NewExpression' && (parent.arguments as readonly Node[]).length > 0;
    const isTest = parent.type === 'BinaryExpression' && parent.operator === 'instanceof';
    return isConversion || isTest || ['parse', 'UTC'].includes(memberOf(parent) ?? '');
  }
  if (isGlobal(child, 'Math', scopes)) return (memberOf(parent) ?? 'random') !== 'random';
  return false;
}

function memberOf(node: Node): string | undefined {
  if (node.type !== 'MemberExpression' || node.computed === true) return undefined;
  return (node.property as Node).name as string;
}

function isGlobal(node: Node, name: string, scopes: Scopes): boolean {
  return (
    node.type === 'Identifier' && node.name === name && !scopes.some((scope) => scope.has(name))
  );
}

function impurityOf(node: Node, scopes: Scopes): string | undefined {
  if (isGlobal(node, 'Date', scopes)) return 'the clock (Date without a value)';
  if (isGlobal(node, 'Math', scopes)) return 'randomness (Math.random)';
  // Either the global or the package's.
  const isTemporal = (node.object as Node | undefined)?.name === 'Temporal';
  if (isTemporal && memberOf(node) === 'Now') return 'the clock (Temporal.Now)';
  if (node.type !== 'Identifier') return undefined;
  const name = node.name as string;
  return impureGlobals.has(name) && isGlobal(node, name, scopes) ? name : undefined;
}

/** The names that a scope binds: parameters of a function, declarations of a block, and so on. */
function namesDeclaredIn(node: Node): Set<string> {
  const names = new Set<string>();
  const add = (pattern: unknown) => addNames(pattern, names);
  if (/Function/.test(node.type)) {
    add(node.id);
    for (const parameter of node.params as readonly unknown[]) add(parameter);
  }
  if (node.type === 'CatchClause') add(node.param);
  if (/^For/.test(node.type)) addDeclaration((node.init ?? node.left) as Node | null, names);
  if (node.type === 'SwitchStatement') {
    for (const one of node.cases as readonly Node[]) {
      for (const statement of one.consequent as readonly Node[]) addDeclaration(statement, names);
    }
  }
  if (['Program', 'BlockStatement', 'StaticBlock'].includes(node.type)) {
    for (const statement of node.body as readonly Node[]) addDeclaration(statement, names);
  }
  return names;
}

function addDeclaration(statement: Node | null, names: Set<string>): void {
  if (!statement) return;
  if (statement.type.startsWith('Export')) {
    addDeclaration((statement.declaration ?? null) as Node | null, names);
  } else if (statement.type === 'VariableDeclaration') {
    for (const one of statement.declarations as readonly Node[]) addNames(one.id, names);
  } else if (statement.type === 'ImportDeclaration') {
    for (const one of statement.specifiers as readonly Node[]) addNames(one.local, names);
  } else if (/^(Function|Class)Declaration$/.test(statement.type)) {
    addNames(statement.id, names);
  }
}

/** The names that a pattern binds, without what it reads (defaults, computed keys). */
function addNames(pattern: unknown, names: Set<string>): void {
  if (!isNode(pattern)) return;
  switch (pattern.type) {
    case 'Identifier':
      names.add(pattern.name as string);
      break;
    case 'AssignmentPattern':
      addNames(pattern.left, names);
      break;
    case 'RestElement':
      addNames(pattern.argument, names);
      break;
    case 'ArrayPattern':
      for (const element of pattern.elements as readonly unknown[]) addNames(element, names);
      break;
    case 'ObjectPattern':
      for (const property of pattern.properties as readonly Node[]) {
        addNames(property.type === 'RestElement' ? property : property.value, names);
      }
      break;
  }
}
