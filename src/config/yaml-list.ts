import {
  type Alias,
  type Document,
  isMap,
  isScalar,
  LineCounter,
  type ParsedNode,
  parseDocument,
  visit,
} from 'yaml';
import { en } from 'zod/locales';
import { z } from 'zod/mini';
import { ConfigError } from '../model/errors.ts';
import { describeKey } from './shown-value.ts';
import { describeYamlError } from './yaml-problem.ts';

/** What an input that is a YAML list contains. */
export interface ListKind<T> {
  /** Its name: `stores`. */
  readonly input: string;
  /** One of its items: `store`. */
  readonly item: string;
  readonly shape: z.ZodMiniType<readonly T[]>;
  /** Every name that an item may have; others are the user's, and not repeated. */
  readonly fields: ReadonlySet<string>;
  readonly expected: string;
}

export interface YamlList<T> {
  readonly items: readonly T[];
  /** Where the value with this path is: `input stores, line 3, column 5`. */
  at(path: readonly PropertyKey[]): string;
}

/**
 * Reads an input that is a YAML list; an empty text is an empty list.
 *
 * @throws ConfigError with the line and what is expected; values, which may be secret, are not repeated
 */
export function readYamlList<T>(text: string, kind: ListKind<T>): YamlList<T> {
  const lines = new LineCounter();
  const place = (offset: number | undefined): string => {
    const { line, col } = lines.linePos(offset ?? 0);
    return `input ${kind.input}, line ${line}, column ${col}`;
  };
  if (text.trim() === '') return { items: [], at: () => place(0) };
  // Otherwise the parser writes warnings to stderr, as Node.js's own; `silent` also hides a second document.
  const options = { lineCounter: lines, uniqueKeys: true, logLevel: 'error' } as const;
  const document = parseDocument(text, options);
  const broken = document.errors[0];
  if (broken !== undefined) {
    throw new ConfigError(place(broken.pos[0]), describeYamlError(broken), 'a YAML list');
  }
  const at = (path: readonly PropertyKey[]): string => {
    for (let length = path.length; length >= 0; length -= 1) {
      const node = document.getIn(path.slice(0, length), true) as ParsedNode | undefined;
      if (node?.range) return place(node.range[0]);
    }
    return place(0);
  };
  const parsed = kind.shape.safeParse(resolve(document, place, kind.input));
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    const key = issue?.code === 'unrecognized_keys' ? issue.keys[0] : undefined;
    const written = key === undefined ? undefined : keyOf(document, issue?.path ?? [], key);
    throw describeIssue(
      issue,
      written === undefined ? at(issue?.path ?? []) : place(written),
      kind,
    );
  }
  if (parsed.data.length === 0) {
    throw new ConfigError(
      at([]),
      `\`${kind.input}\` is an empty list`,
      `at least one ${kind.item}, or no \`${kind.input}\``,
    );
  }
  return { items: parsed.data, at };
}

/** Where a key of the mapping with this path begins. */
function keyOf(
  document: Document.Parsed,
  path: readonly PropertyKey[],
  name: string,
): number | undefined {
  const map = document.getIn(path, true);
  const pairs = isMap(map) ? map.items : [];
  const key = pairs.map((pair) => pair.key).find((each) => isScalar(each) && each.value === name);
  return isScalar(key) ? key.range?.[0] : undefined;
}

/** The values, with aliases (`*name`) replaced by what they stand for. */
function resolve(
  document: Document.Parsed,
  place: (offset: number | undefined) => string,
  input: string,
): unknown {
  const aliases: Alias[] = [];
  visit(document, { Alias: (_, alias) => void aliases.push(alias) });
  const unknown = aliases.find((alias) => alias.resolve(document) === undefined);
  if (unknown !== undefined) {
    const problem = `invalid \`${input}\`: an alias (\`*name\`) does not name an earlier anchor`;
    throw new ConfigError(place(unknown.range?.[0]), problem, 'the name of an earlier anchor');
  }
  try {
    return document.toJS();
  } catch (cause) {
    // What remains is an alias that refers to itself, or to more than the parser expands.
    const where = place(aliases.at(-1)?.range?.[0]);
    const problem = `invalid \`${input}\`: its aliases expand to too many values`;
    throw new ConfigError(where, problem, 'the values written out', { cause });
  }
}

// Without it, an issue says only that there is one.
z.config(en());

function describeIssue<T>(
  issue: z.core.$ZodIssue | undefined,
  where: string,
  { input, item, fields, expected }: ListKind<T>,
): ConfigError {
  if (issue?.code === 'unrecognized_keys') {
    return new ConfigError(where, describeKey(issue.keys[0] ?? '', [...fields]), expected);
  }
  const path = issue?.path ?? [];
  const parts = path.map((part) =>
    typeof part === 'number' || fields.has(String(part)) ? String(part) : '*',
  );
  const name = parts.length === 0 ? `\`${input}\`` : `\`${parts.join('.')}\``;
  const message = issue?.message ?? `not a list of ${item}s`;
  return new ConfigError(where, `invalid ${name}: ${message}`, expected);
}
