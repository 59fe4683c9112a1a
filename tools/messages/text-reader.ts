/** Evaluates expressions of a TypeScript module to the texts that they can have. */

/** ESTree with TypeScript's additions. */
export interface Node {
  readonly type: string;
  readonly start: number;
  readonly end: number;
  readonly [field: string]: unknown;
}

export interface Scope {
  readonly node: Node;
  readonly outer: Scope | null;
}

const mostVariants = 24;
const depthLimit = 4;

export const isNode = (value: unknown): value is Node =>
  typeof value === 'object' && value !== null && 'type' in value && 'start' in value;

const childrenOf = (node: Node): Node[] => Object.values(node).flat().filter(isNode);

export function visit(
  node: Node,
  outer: Scope | null,
  report: (node: Node, scope: Scope) => void,
): void {
  const scope = outer === null || isFunction(node) ? { node, outer } : outer;
  report(node, scope);
  for (const child of childrenOf(node)) visit(child, scope, report);
}

const isFunction = (node: Node): boolean => /Function/.test(node.type) && isNode(node.body);

/** The last name of an expression, for its placeholder. */
export function nameOf(node: unknown): string {
  if (!isNode(node)) return '';
  switch (node.type) {
    case 'Identifier':
    case 'PrivateIdentifier':
      return node.name as string;
    case 'MemberExpression': {
      const name = nameOf(node.property);
      return node.computed === true || ['name', 'length', 'message'].includes(name)
        ? nameOf(node.object)
        : name;
    }
    case 'CallExpression': {
      const [first] = node.arguments as readonly Node[];
      const callee = node.callee as Node;
      // `list.join(', ')` and `text.slice(0, 7)` are about the list and the text.
      if (callee.type === 'MemberExpression') return nameOf(callee.object) || nameOf(first);
      return nameOf(first) || nameOf(callee);
    }
    case 'LogicalExpression':
    case 'BinaryExpression':
      return nameOf(node.left);
    case 'ChainExpression':
    case 'TSNonNullExpression':
    case 'TSAsExpression':
      return nameOf(node.expression);
    default:
      return '';
  }
}

function hole(node: unknown): string {
  const words = nameOf(node)
    .replace(/([a-z])([A-Z])/g, '$1 $2')
    .toLowerCase();
  return `<${/^[a-z][a-z ]*$/.test(words) ? words : '…'}>`;
}

const withoutHoles = (text: string): string => text.replace(/<[^>]*>/g, '');

/** Whether a text says something outside its placeholders. */
export const isSentence = (text: string): boolean =>
  /[A-Za-z]{2,}[`']? |[a-z]{5,}/.test(withoutHoles(text));

/** Whether a text is a part of a sentence, not a word. */
export const isPhrase = (text: string): boolean =>
  /[a-z`]+[,;:]? [a-z`]+|^: /.test(withoutHoles(text));

const unique = (texts: readonly string[]): string[] => [...new Set(texts)];

export const tidy = (text: string): string =>
  text.replace(/\s+/g, ' ').replace(/^[ :;,.]+|[ :;,.]+$/g, '');

export function fieldOf(node: Node, name: string): Node | undefined {
  if (node.type !== 'ObjectExpression') return undefined;
  const property = (node.properties as readonly Node[]).find((each) => nameOf(each.key) === name);
  return property === undefined ? undefined : (property.value as Node);
}

/** Every combination, unless there are too many. */
function joined(parts: readonly (readonly string[])[]): string[] {
  const size = parts.reduce((product, part) => product * Math.max(1, part.length), 1);
  const kept =
    size <= mostVariants ? parts : parts.map((part) => (part.length > 1 ? ['<…>'] : part));
  return unique(
    kept.reduce<string[]>(
      (texts, part) =>
        texts.flatMap((text) => (part.length === 0 ? [text] : part.map((piece) => text + piece))),
      [''],
    ),
  );
}

/** What a module imports under a name: its reader, and the name there. */
export type Imported = (name: string) => { readonly reader: Reader; readonly name: string } | null;

/** Resolves names within one module, and follows functions and constants to those that it imports. */
export class Reader {
  readonly #functions = new Map<string, Node>();
  readonly #calls = new Map<string, { call: Node; scope: Scope }[]>();
  readonly #program: Node;
  readonly #imported: Imported;

  constructor(program: Node, imported: Imported = () => null) {
    this.#program = program;
    this.#imported = imported;
    visit(program, null, (node, scope) => {
      if (node.type === 'FunctionDeclaration') this.#functions.set(nameOf(node.id), node);
      if (node.type === 'VariableDeclarator' && isNode(node.init) && isFunction(node.init)) {
        this.#functions.set(nameOf(node.id), node.init);
      }
      if (node.type === 'CallExpression' || node.type === 'NewExpression') {
        const name = nameOf(node.callee);
        this.#calls.set(name, [...(this.#calls.get(name) ?? []), { call: node, scope }]);
      }
    });
  }

  /** Every text that an expression can have. */
  texts(node: unknown, scope: Scope, depth = depthLimit): string[] {
    if (!isNode(node)) return [];
    switch (node.type) {
      case 'Literal':
        return node.value === null ? [] : [String(node.value)];
      case 'TemplateLiteral':
        return this.#template(node, scope, depth);
      case 'BinaryExpression':
        return joined([
          this.#inserted(node.left, scope, depth),
          this.#inserted(node.right, scope, depth),
        ]);
      case 'ConditionalExpression':
        return unique([
          ...this.texts(node.consequent, scope, depth),
          ...this.texts(node.alternate, scope, depth),
        ]);
      case 'LogicalExpression':
        return unique([
          ...this.texts(node.left, scope, depth),
          ...this.texts(node.right, scope, depth),
        ]);
      case 'TSAsExpression':
      case 'TSNonNullExpression':
      case 'ChainExpression':
        return this.texts(node.expression, scope, depth);
      case 'Identifier':
        return this.#named(node, scope, depth);
      case 'MemberExpression':
        return this.#looked(node, scope, depth);
      case 'ArrowFunctionExpression':
        return returnsOf(node).flatMap((value) => this.texts(value, { node, outer: scope }, depth));
      case 'CallExpression':
        return this.#replaced(node, scope, depth) ?? this.#called(node, depth);
      default:
        return [hole(node)];
    }
  }

  /** `problems[state]`: every value of that object. */
  #looked(node: Node, scope: Scope, depth: number): string[] {
    for (let at: Scope | null = node.computed === true ? scope : null; at !== null; at = at.outer) {
      const here = at;
      const objects = valuesOf(at.node, nameOf(node.object), node);
      const found = objects
        .filter(({ type }) => type === 'ObjectExpression')
        .flatMap((object) => object.properties as readonly Node[])
        .flatMap(({ value }) => this.texts(value, here, depth - 1));
      if (found.some(isPhrase)) return unique(found);
    }
    return [hole(node)];
  }

  #template(node: Node, scope: Scope, depth: number): string[] {
    const quasis = node.quasis as readonly { readonly value: { readonly cooked: string } }[];
    const values = node.expressions as readonly Node[];
    return joined(
      quasis.flatMap(({ value }, index) => [
        [value.cooked],
        values[index] === undefined ? [] : this.#inserted(values[index], scope, depth),
      ]),
    );
  }

  /** A value within a text: spelled out only where it is a phrase itself. */
  #inserted(node: unknown, scope: Scope, depth: number): string[] {
    if (isNode(node) && ['Literal', 'TemplateLiteral', 'BinaryExpression'].includes(node.type)) {
      return this.texts(node, scope, depth);
    }
    const found = depth > 1 ? this.texts(node, scope, depth - 2) : [];
    return found.some(isPhrase) ? found : [hole(node)];
  }

  #named(node: Node, scope: Scope, depth: number): string[] {
    const name = nameOf(node);
    for (let at: Scope | null = scope; at !== null && depth > 0; at = at.outer) {
      const { node: owner } = at;
      const position = isFunction(owner)
        ? (owner.params as readonly Node[]).findIndex((each) => nameOf(each) === name)
        : -1;
      if (position >= 0) return this.#passed(node, owner, position, depth);
      const values = valuesOf(owner, name, node);
      if (values.length > 0) {
        const found = values.flatMap((value) => this.texts(value, at as Scope, depth - 1));
        // As a whole text, a word and a value are enough: `unknown <argument>`.
        return found.some(depth === depthLimit ? isSentence : isPhrase)
          ? unique(found)
          : [hole(node)];
      }
    }
    const other = depth > 0 ? this.#imported(name) : null;
    const found = other === null ? [] : other.reader.#constant(other.name, node, depth - 1);
    return found.some(isPhrase) ? unique(found) : [hole(node)];
  }

  #constant(name: string, use: Node, depth: number): string[] {
    const scope: Scope = { node: this.#program, outer: null };
    return valuesOf(this.#program, name, use).flatMap((value) => this.texts(value, scope, depth));
  }

  /** `text.replace('one', 'other')` with texts that are written there. */
  #replaced(node: Node, scope: Scope, depth: number): string[] | null {
    const callee = node.callee as Node;
    const [one, other] = node.arguments as readonly Node[];
    if (callee.type !== 'MemberExpression' || nameOf(callee.property) !== 'replace') return null;
    if (one?.type !== 'Literal' || typeof one.value !== 'string') return null;
    const found = this.texts(callee.object, scope, depth);
    if (!found.some(isPhrase)) return null;
    const [text = ''] = this.texts(other, scope, depth);
    return found.map((each) => each.replace(one.value as string, () => text));
  }

  /** What the callers in this module pass for a parameter. */
  #passed(node: Node, owner: Node, position: number, depth: number): string[] {
    const [name] = [...this.#functions].find(([, each]) => each === owner) ?? [''];
    const found = (this.#calls.get(name) ?? []).flatMap(({ call, scope }) =>
      this.texts((call.arguments as readonly Node[])[position], scope, depth - 1),
    );
    return found.some(isPhrase) ? unique(found.filter(isPhrase)) : [hole(node)];
  }

  /** What a function returns: one of this module, or one that it imports. */
  #called(node: Node, depth: number): string[] {
    if (depth <= 0 || (node.callee as Node).type !== 'Identifier') return [hole(node)];
    const name = nameOf(node.callee);
    const other = this.#functions.has(name) ? null : this.#imported(name);
    const found =
      other === null ? this.#returned(name, depth) : other.reader.#returned(other.name, depth);
    return found.some(isPhrase) ? unique(found.filter(isPhrase)) : [hole(node)];
  }

  #returned(name: string, depth: number): string[] {
    const callee = this.#functions.get(name);
    if (callee === undefined) return [];
    const inner: Scope = { node: callee, outer: { node: this.#program, outer: null } };
    return returnsOf(callee).flatMap((value) => this.texts(value, inner, depth - 1));
  }
}

/** What a name stands for where it is used in a function: that of the innermost block which has it. */
function valuesOf(owner: Node, name: string, use: Node): Node[] {
  const found: { readonly value: Node; readonly depth: number }[] = [];
  const look = (node: Node, depth: number): void => {
    if (node.type === 'VariableDeclarator' && isNode(node.init) && nameOf(node.id) === name) {
      found.push({ value: node.init, depth });
    }
    for (const child of childrenOf(node)) {
      if (isFunction(child)) continue;
      const isBlock = child.type === 'BlockStatement';
      if (!isBlock || isAround(child, use)) look(child, depth + (isBlock ? 1 : 0));
    }
  };
  look(owner, 0);
  const deepest = Math.max(...found.map(({ depth }) => depth));
  return found.filter(({ depth }) => depth === deepest).map(({ value }) => value);
}

const isAround = (block: Node, use: Node): boolean =>
  block.start <= use.start && use.start < block.end;

function returnsOf(owner: Node): Node[] {
  const body = owner.body as Node;
  if (body.type !== 'BlockStatement') return [body];
  const found: Node[] = [];
  const look = (node: Node): void => {
    if (node.type === 'ReturnStatement' && isNode(node.argument)) found.push(node.argument);
    for (const child of childrenOf(node)) if (!isFunction(child)) look(child);
  };
  look(body);
  return found;
}
