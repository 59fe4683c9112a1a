/** The texts of the errors that TypeScript modules throw, read from their syntax trees. */
import { posix } from 'node:path';
import { parseAst } from 'rolldown/parseAst';
import {
  fieldOf,
  type Imported,
  isNode,
  isPhrase,
  isSentence,
  type Node,
  nameOf,
  Reader,
  type Scope,
  tidy,
  visit,
} from './text-reader.ts';

/** An error as the sources write it. Values known only at run time are names in angle brackets. */
export interface Message {
  readonly file: string;
  readonly text: string;
  /** What the code itself tells the user to do. */
  readonly next: string;
}

/** Which argument is the text, and which says what to do: an argument, or a field of it. */
const kinds: Readonly<
  Record<string, { text: number; next: (args: readonly Node[]) => Node | undefined }>
> = {
  ConfigError: { text: 1, next: (args) => args[2] },
  AnotherReleaseError: { text: 1, next: (args) => args[2] },
  HostError: { text: 0, next: (args) => args[1] && fieldOf(args[1], 'next') },
  GateError: { text: 1, next: (args) => args[3] },
  refuseFlag: { text: 1, next: (args) => args[2] },
};
/** Throws a ConfigError for its callers in other modules. */
const helper = 'refuseFlag';
const configErrors: ReadonlySet<string> = new Set(['ConfigError', 'AnotherReleaseError', helper]);

/** A module of the sources. */
interface Module {
  readonly program: Node;
  readonly reader: Reader;
}

/** The modules of the sources, each read once: path → text. */
export class Sources {
  readonly #texts: ReadonlyMap<string, string>;
  readonly #modules = new Map<string, Module>();

  constructor(texts: ReadonlyMap<string, string>) {
    this.#texts = texts;
  }

  /** Every error of every module. */
  messages(): Message[] {
    return [...this.#texts.keys()].flatMap((file) => this.#messagesOf(file));
  }

  #messagesOf(file: string): Message[] {
    const module = this.#moduleAt(file);
    return module === null ? [] : messagesIn(file, module);
  }

  #moduleAt(file: string): Module | null {
    const known = this.#modules.get(file);
    const text = this.#texts.get(file);
    if (known !== undefined || text === undefined) return known ?? null;
    const program = parseAst(text, { lang: 'ts', sourceType: 'module' }, file) as unknown as Node;
    const imports = importsOf(program, file);
    const imported: Imported = (name) => {
      const found = imports.get(name);
      const reader = found && this.#moduleAt(found.file)?.reader;
      return found === undefined || reader === undefined ? null : { reader, name: found.name };
    };
    const module = { program, reader: new Reader(program, imported) };
    this.#modules.set(file, module);
    return module;
  }
}

/** The errors of a module alone: what it imports is not followed. */
export const messagesOf = (file: string, source: string): Message[] =>
  new Sources(new Map([[file, source]])).messages();

/** What a module imports from others of the sources: the name here → file, and the name there. */
function importsOf(
  program: Node,
  file: string,
): ReadonlyMap<string, { readonly file: string; readonly name: string }> {
  const found = new Map<string, { file: string; name: string }>();
  for (const node of program.body as readonly Node[]) {
    const from = node.type === 'ImportDeclaration' ? (node.source as Node).value : undefined;
    if (typeof from !== 'string' || !from.startsWith('.')) continue;
    const target = posix.join(posix.dirname(file), from);
    for (const each of node.specifiers as readonly Node[]) {
      if (each.type !== 'ImportSpecifier') continue;
      found.set(nameOf(each.local), { file: target, name: nameOf(each.imported) });
    }
  }
  return found;
}

/**
 * Each text of a ConfigError, HostError or GateError in a module. A text that a helper puts together
 * is followed to its callers in the module; one that only repeats another error's is left out.
 */
function messagesIn(file: string, { program, reader }: Module): Message[] {
  const found: Message[] = [];
  visit(program, null, (node, scope) => {
    const told = tellingOf(node, scope);
    if (told === null) return;
    const nexts = reader.texts(told.next, scope).filter(isSentence).map(tidy);
    const texts = reader
      .texts(told.text, scope)
      .filter(told.isWhole ? isSentence : isPhrase)
      .map(tidy);
    // Texts and advice of one place come in the same order, where both have as many variants.
    const isPaired = nexts.length === texts.length;
    texts.forEach((text, index) => {
      const next = nexts.length === 1 ? nexts[0] : isPaired ? nexts[index] : undefined;
      found.push({ file, text, next: next === undefined ? '' : told.lead + next });
    });
  });
  const seen = new Set<string>();
  return found.filter(({ text }) => !seen.has(text) && seen.add(text));
}

/** A text for the user, and what it says to do. `isWhole`: not a part of another error's text. */
interface Telling {
  readonly text: Node | undefined;
  readonly next: Node | undefined;
  /** What an error prints before `next`. */
  readonly lead: 'expected: ' | '';
  readonly isWhole: boolean;
}

/**
 * The three errors; and what they pass on: objects with a `problem`, and the pairs that a function
 * returns as `[problem, expected]`.
 */
function tellingOf(node: Node, scope: Scope): Telling | null {
  const isHelper = node.type === 'CallExpression' && nameOf(node.callee) === helper;
  if (node.type === 'NewExpression' || isHelper) {
    const kind = nameOf(node.callee);
    const shape = kinds[kind];
    const args = node.arguments as readonly Node[];
    const lead = configErrors.has(kind) ? 'expected: ' : '';
    return shape === undefined
      ? null
      : { text: args[shape.text], next: shape.next(args), lead, isWhole: true };
  }
  if (node.type === 'ObjectExpression') {
    const text = fieldOf(node, 'problem');
    const next = ['fix', 'expected', 'hint', 'next']
      .map((name) => fieldOf(node, name))
      .find(isNode);
    const lead = next !== undefined && next === fieldOf(node, 'expected') ? 'expected: ' : '';
    return text === undefined ? null : { text, next, lead, isWhole: false };
  }
  if (node.type === 'ArrayExpression' && returnsProblem(scope.node)) {
    const [text, next] = node.elements as readonly Node[];
    return { text, next, lead: 'expected: ', isWhole: true };
  }
  return null;
}

const returnsProblem = (node: Node): boolean =>
  JSON.stringify(node.returnType ?? null).includes('"name":"problem"');
