import { isMap, isScalar, isSeq, LineCounter, type Node, parseDocument } from 'yaml';
import { ConfigError } from '../model/errors.ts';
import { type ActionName, actions } from './action-inputs.ts';
import type { Input, Inputs } from './input.ts';
import { describeKey } from './shown-value.ts';
import { describeYamlError } from './yaml-problem.ts';

/** A value from the fleet file and its position: `.github/fleet.yml:3:14`. */
export interface FleetValue {
  readonly text: string;
  readonly where: string;
  /** Where the value is YAML of its own: the line of the file with its first line. */
  readonly firstLine?: number;
}

/** Values for one action: from its own section, otherwise from the top level. */
export type FleetValues = ReadonlyMap<string, FleetValue>;

/**
 * Reads the fleet file: inputs at the top level apply to every action, those in a section named after
 * an action apply to that action.
 *
 * ```yaml
 * host: 203.0.113.10
 * unit: celery-worker.service
 * deploy-worker:
 *   concurrency: 1
 * ```
 *
 * @throws ConfigError with file, line and column: invalid YAML, an unknown key, a secret, or a nested
 * value
 */
export function parseFleetFile(path: string, text: string, action: ActionName): FleetValues {
  const lines = new LineCounter();
  // Silent: otherwise the parser writes warnings to stderr, as Node.js's own.
  const options = { lineCounter: lines, uniqueKeys: true, logLevel: 'silent' } as const;
  const document = parseDocument(text, options);
  const file: FleetText = { text, lines };
  const place = (offset: number | undefined): string => {
    const { line, col } = lines.linePos(offset ?? 0);
    return `${path}:${line}:${col}`;
  };
  const broken = document.errors[0];
  if (broken !== undefined) {
    throw new ConfigError(place(broken.pos[0]), describeYamlError(broken), 'valid YAML');
  }
  const values = new Map<string, FleetValue>();
  if (document.contents === null) {
    return values;
  }
  const sections: Node[] = [];
  const everyInput: Inputs = Object.assign({}, ...Object.values(actions));
  for (const [name, node, where] of entriesOf(document.contents, place)) {
    if (Object.hasOwn(actions, name)) {
      const known: Inputs = actions[name as ActionName];
      for (const [key, value, at] of entriesOf(node, place)) {
        const input = checkKey(key, at, known, `an input of ${name}`);
        readValue({ key, input, node: value, where: at }, file, place);
      }
      if (name === action && node !== null) {
        sections.push(node);
      }
    } else {
      const expected = `an action (${Object.keys(actions).join(', ')}) or an input`;
      const input = checkKey(name, where, everyInput, expected);
      const value = readValue({ key: name, input, node, where }, file, place);
      if (Object.hasOwn(actions[action], name)) {
        values.set(name, value);
      }
    }
  }
  for (const section of sections) {
    const known: Inputs = actions[action];
    for (const [key, node, where] of entriesOf(section, place)) {
      const input = checkKey(key, where, known, `an input of ${action}`);
      values.set(key, readValue({ key, input, node, where }, file, place));
    }
  }
  return values;
}

type Place = (offset: number | undefined) => string;

function* entriesOf(node: Node | null, place: Place): Generator<[string, Node | null, string]> {
  if (node === null || (isScalar(node) && node.value === null)) {
    return;
  }
  if (!isMap(node)) {
    throw new ConfigError(place(node.range?.[0]), 'not a mapping', '`name: value` lines');
  }
  for (const { key, value } of node.items) {
    if (!isScalar(key) || typeof key.value !== 'string') {
      throw new ConfigError(
        place(node.range?.[0]),
        'the key is not a string',
        'the name of an input',
      );
    }
    yield [key.value, (value ?? null) as Node | null, place(key.range?.[0])];
  }
}

/** @returns the input of this name */
function checkKey(key: string, where: string, known: Inputs, expected: string): Input<unknown> {
  const input: Input<unknown> | undefined = Object.hasOwn(known, key) ? known[key] : undefined;
  if (input === undefined) {
    const all = Object.values(actions).flatMap((set) => Object.keys(set));
    throw new ConfigError(where, describeKey(key, Object.keys(known), all), expected);
  }
  if (input.secret) {
    throw new ConfigError(
      where,
      `\`${key}\` is a secret`,
      'a repository secret passed by the workflow',
    );
  }
  if (key === 'fleet-file') {
    throw new ConfigError(
      where,
      'a fleet file cannot name another fleet file',
      'no `fleet-file` key',
    );
  }
  return input;
}

interface FleetText {
  readonly text: string;
  readonly lines: LineCounter;
}

interface Entry {
  readonly key: string;
  readonly input: Input<unknown>;
  readonly node: Node | null;
  readonly where: string;
}

function readValue({ key, input, node, where }: Entry, file: FleetText, place: Place): FleetValue {
  if (isSeq(node) && node.items.length === 0) {
    const expected = `at least one item, or no \`${key}\``;
    throw new ConfigError(place(node.range?.[0]), `\`${key}\` is an empty list`, expected);
  }
  return (input.yaml ? yamlValue(node, file, place) : null) ?? plainValue(node, where, place);
}

/** The list as it stands in the file, so that its own parser names the lines; `null`: other text. */
function yamlValue(node: Node | null, { text, lines }: FleetText, place: Place): FleetValue | null {
  if (node?.range == null) return null;
  const [start, end] = node.range;
  const { line, col } = lines.linePos(start);
  const at = place(start);
  if (isSeq(node)) {
    const own = `${' '.repeat(col - 1)}${text.slice(start, end)}`;
    return { text: own, where: at, firstLine: line };
  }
  if (!isScalar(node) || typeof node.value !== 'string') return null;
  // A block (`|`) begins on the line after its header.
  const isBlock = node.type === 'BLOCK_LITERAL';
  return { text: node.value, where: at, ...(isBlock && { firstLine: line + 1 }) };
}

function plainValue(node: Node | null, where: string, place: Place): FleetValue {
  const at = node === null ? where : place(node.range?.[0]);
  if (isSeq(node)) {
    const items = node.items.map((item) => plainValue(item as Node, where, place).text);
    return { text: items.join('\n'), where: at };
  }
  if (isScalar(node) && ['string', 'number', 'boolean'].includes(typeof node.value)) {
    // The source text keeps what parsing as a number would lose: `0644`, `1_000`.
    return { text: typeof node.value === 'string' ? node.value : (node.source ?? ''), where: at };
  }
  throw new ConfigError(at, 'not a string, number, boolean or list', 'a plain value or a list');
}
