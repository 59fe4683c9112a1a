import { isMap, isScalar, isSeq, LineCounter, type Node, parseDocument } from 'yaml';
import { ConfigError } from '../model/errors.ts';
import type { Input, Inputs } from './input.ts';
import { describeKey } from './shown-value.ts';
import { describeYamlError } from './yaml-problem.ts';

/** A value from the fleet file and its position: `.github/fleet.yml:3:14`. */
export interface FleetValue {
  readonly text: string;
  readonly where: string;
  /** Where the value is YAML of its own: the line of the file with its first line, and how far it is indented. */
  readonly own?: { readonly firstLine: number; readonly indent: number };
  /** The text of the input that names this value: `web1` for the address of the host web1. */
  readonly namedBy?: string;
}

/** The YAML of a fleet file. */
export interface FleetText {
  readonly path: string;
  readonly text: string;
  readonly lines: LineCounter;
  readonly contents: Node | null;
}

/** A key of a mapping with its value. */
export interface Entry {
  readonly key: string;
  readonly node: Node | null;
  /** Of the key. */
  readonly where: string;
}

/**
 * Opens the YAML of a fleet file.
 *
 * @throws ConfigError with file, line and column when it is not valid YAML
 */
export function openFleetText(path: string, text: string): FleetText {
  const lines = new LineCounter();
  // Otherwise the parser writes warnings to stderr, as Node.js's own; `silent` also hides a second document.
  const options = { lineCounter: lines, uniqueKeys: true, logLevel: 'error' } as const;
  const document = parseDocument(text, options);
  const file = { path, text, lines, contents: document.contents };
  const broken = document.errors[0];
  if (broken !== undefined) {
    throw new ConfigError(placeOf(file, broken.pos[0]), describeYamlError(broken), 'valid YAML');
  }
  return file;
}

/** `.github/fleet.yml:3:14`. */
function placeOf({ path, lines }: FleetText, offset: number | undefined): string {
  const { line, col } = lines.linePos(offset ?? 0);
  return `${path}:${line}:${col}`;
}

/** The place of a value, or `fallback` when there is none. */
export const placeOfNode = (file: FleetText, node: Node | null, fallback: string): string =>
  node === null ? fallback : placeOf(file, node.range?.[0]);

/**
 * The keys of a mapping; none when there is no value.
 *
 * @throws ConfigError when it is no mapping
 */
export function entriesOf(file: FleetText, node: Node | null): readonly Entry[] {
  if (node === null || (isScalar(node) && node.value === null)) return [];
  if (!isMap(node)) {
    throw new ConfigError(placeOf(file, node.range?.[0]), 'not a mapping', '`name: value` lines');
  }
  return node.items.map(({ key, value }) => {
    if (!isScalar(key) || typeof key.value !== 'string') {
      throw new ConfigError(
        placeOf(file, (key as Node | null)?.range?.[0] ?? node.range?.[0]),
        'the key is not a string',
        'the name of an input',
      );
    }
    const where = placeOf(file, key.range?.[0]);
    return { key: key.value, node: (value ?? null) as Node | null, where };
  });
}

/**
 * The input of this name.
 *
 * @param names `beside`: what else may stand there; `all`: a key that resembles one of these may be
 * repeated, what else is there may be secret
 * @throws ConfigError when there is none, or it must not be in the file
 */
export function checkKey(
  { key, where }: Entry,
  known: Inputs,
  expected: string,
  names: { readonly beside?: readonly string[]; readonly all: readonly string[] },
): Input<unknown> {
  const input: Input<unknown> | undefined = Object.hasOwn(known, key) ? known[key] : undefined;
  if (input === undefined) {
    const near = [...Object.keys(known), ...(names.beside ?? [])];
    throw new ConfigError(where, describeKey(key, near, names.all), expected);
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

/**
 * The value of an input.
 *
 * @throws ConfigError when it is a mapping, an empty list or nothing
 */
export function readValue(
  file: FleetText,
  { key, node, where }: Entry,
  input: Input<unknown>,
): FleetValue {
  if (isSeq(node) && node.items.length === 0) {
    const expected = `at least one item, or no \`${key}\``;
    throw new ConfigError(placeOf(file, node.range?.[0]), `\`${key}\` is an empty list`, expected);
  }
  return (input.yaml === null ? null : yamlValue(file, node)) ?? plainValue(file, node, where);
}

/** The list as it stands in the file, so that its own parser names the lines; `null`: other text. */
function yamlValue(file: FleetText, node: Node | null): FleetValue | null {
  if (node?.range == null) return null;
  const [start, end] = node.range;
  const { line, col } = file.lines.linePos(start);
  const at = placeOf(file, start);
  if (isSeq(node)) {
    const text = `${' '.repeat(col - 1)}${file.text.slice(start, end)}`;
    return { text, where: at, own: { firstLine: line, indent: 0 } };
  }
  if (!isScalar(node) || typeof node.value !== 'string') return null;
  if (node.type !== 'BLOCK_LITERAL') return { text: node.value, where: at };
  // A block (`|`) begins on the line after its header.
  const own = { firstLine: line + 1, indent: indentOf(file.text, node.value, line) };
  return { text: node.value, where: at, own };
}

/** How far the lines of a block are indented that begins after line `header`. */
function indentOf(text: string, block: string, header: number): number {
  const lines = block.split('\n');
  const at = lines.findIndex((line) => line.trim() !== '');
  const written = text.split(/\r?\n/)[header + at] ?? '';
  return Math.max(0, written.length - (lines[at] ?? written).length);
}

function plainValue(file: FleetText, node: Node | null, where: string): FleetValue {
  const at = placeOfNode(file, node, where);
  if (isSeq(node)) {
    const items = node.items.map((item) => plainValue(file, item as Node, where).text);
    return { text: items.join('\n'), where: at };
  }
  if (isScalar(node) && ['string', 'number', 'boolean'].includes(typeof node.value)) {
    // The source text keeps what parsing as a number would lose: `0644`, `1_000`.
    return { text: typeof node.value === 'string' ? node.value : (node.source ?? ''), where: at };
  }
  throw new ConfigError(at, 'not a string, number, boolean or list', 'a plain value or a list');
}
