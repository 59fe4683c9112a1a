import {
  type Alias,
  type Document,
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
  /** Where the value with this path is: `input stores, line 3`. */
  at(path: readonly PropertyKey[]): string;
}

/**
 * Reads an input that is a YAML list; an empty text is an empty list.
 *
 * @throws ConfigError with the line and what is expected; values, which may be secret, are not repeated
 */
export function readYamlList<T>(text: string, kind: ListKind<T>): YamlList<T> {
  const lines = new LineCounter();
  const place = (offset: number | undefined): string =>
    `input ${kind.input}, line ${lines.linePos(offset ?? 0).line}`;
  if (text.trim() === '') return { items: [], at: () => place(0) };
  // Silent: otherwise the parser writes warnings to stderr, as Node.js's own.
  const options = { lineCounter: lines, uniqueKeys: true, logLevel: 'silent' } as const;
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
  if (!parsed.success) throw describeIssue(parsed.error.issues[0], at, kind);
  if (parsed.data.length === 0) {
    throw new ConfigError(
      at([]),
      `\`${kind.input}\` is an empty list`,
      `at least one ${kind.item}, or no \`${kind.input}\``,
    );
  }
  return { items: parsed.data, at };
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
  at: (path: readonly PropertyKey[]) => string,
  { input, item, fields, expected }: ListKind<T>,
): ConfigError {
  const path = issue?.path ?? [];
  const parts = path.map((part) =>
    typeof part === 'number' || fields.has(String(part)) ? String(part) : '*',
  );
  const name = parts.length === 0 ? `\`${input}\`` : `\`${parts.join('.')}\``;
  const message =
    issue?.code === 'unrecognized_keys'
      ? describeKey(issue.keys[0] ?? '', [...fields])
      : (issue?.message ?? `not a list of ${item}s`);
  return new ConfigError(at(path), `invalid ${name}: ${message}`, expected);
}
