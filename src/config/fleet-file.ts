import { isScalar, isSeq, type Node } from 'yaml';
import { ConfigError } from '../model/errors.ts';
import { type ActionName, actions } from './action-inputs.ts';
import {
  checkKey,
  type Entry,
  entriesOf,
  type FleetText,
  type FleetValue,
  openFleetText,
  placeOfNode,
  readValue,
} from './fleet-text.ts';
import type { Inputs } from './input.ts';
import { fleetName, rolloutInputs } from './rollout-inputs.ts';
import { describeKey, showValue } from './shown-value.ts';

export type { FleetValue } from './fleet-text.ts';

/** Values for one action on one host. */
export type FleetValues = ReadonlyMap<string, FleetValue>;

/** Inputs for every action, and those in a section named after an action. */
interface Level {
  readonly top: FleetValues;
  readonly sections: ReadonlyMap<ActionName, FleetValues>;
}

/** A host of a fleet file. */
export interface FleetHost {
  readonly name: string;
  /** Of its name. */
  readonly where: string;
  /** From the weakest to the strongest: defaults, its groups in order, its own. */
  readonly levels: readonly Level[];
}

/** A fleet file. */
export interface Fleet {
  readonly path: string;
  /** In the order of the file; `null`: the flat form, which knows no hosts by name. */
  readonly hosts: ReadonlyMap<string, FleetHost> | null;
  readonly rollout: FleetValues;
  /** Of the flat form. */
  readonly flat: Level;
}

const everyInput: Inputs = Object.assign({}, ...Object.values(actions));
const levelKeys = [...Object.keys(actions), ...Object.keys(everyInput)];
const parts = ['defaults', 'groups', 'hosts', 'rollout'];
const allKeys = [...levelKeys, ...parts];
const inputOrAction = `an action (${Object.keys(actions).join(', ')}) or an input`;
const anyPart = parts.map((part) => `\`${part}\``).join(', ');
const nothing: Level = { top: new Map(), sections: new Map() };

/**
 * Reads a fleet file. In its flat form, inputs at the top level apply to every action, those in a
 * section named after an action apply to that action:
 *
 * ```yaml
 * host: 203.0.113.10
 * unit: celery-worker.service
 * deploy-worker:
 *   concurrency: 1
 * ```
 *
 * With `hosts` it has any number of them, and `defaults` and `groups` for what they share; each of
 * these is written as the flat form is.
 *
 * @throws ConfigError with file, line and column: invalid YAML, an unknown key, a secret, or a nested
 * value
 */
export function parseFleet(path: string, text: string): Fleet {
  const file = openFleetText(path, text);
  const entries = file.contents === null ? [] : entriesOf(file, file.contents);
  if (!entries.some(({ key }) => key === 'hosts')) {
    const unknown = entries.find(({ key }) => !allKeys.includes(key));
    if (unknown !== undefined) {
      const problem = describeKey(unknown.key, [...parts, ...levelKeys]);
      throw new ConfigError(unknown.where, problem, `one of ${anyPart}; or ${inputOrAction}`);
    }
    const part = entries.find(({ key }) => parts.includes(key));
    if (part !== undefined) {
      const problem = `\`${part.key}\` without \`hosts\``;
      throw new ConfigError(part.where, problem, '`hosts` with a name for each host');
    }
    return { path, hosts: null, rollout: new Map(), flat: readLevel(file, entries) };
  }
  return { path, ...readFleet(file, entries), flat: nothing };
}

/**
 * The values for an action on a host. Those of a stronger level replace those of a weaker one; within
 * a level, the section of the action replaces what stands beside it.
 *
 * @param host the name of a host of the file, as the workflow gives it; `''`: the only one. A file in
 * the flat form applies to every host
 * @throws ConfigError when the file has no such host, or more than one and none is named
 */
export function fleetValues(fleet: Fleet, action: ActionName, host: string): FleetValues {
  if (fleet.hosts === null) return mergeLevels([fleet.flat], action);
  const found = findHost(fleet, fleet.hosts, host);
  const values = mergeLevels(found.levels, action);
  const { text, where } = values.get('host') ?? { text: found.name, where: found.where };
  return new Map(values).set('host', { text, where, namedBy: host });
}

/**
 * {@link parseFleet} and {@link fleetValues} in one.
 *
 * @throws ConfigError as these do
 */
export const parseFleetFile = (
  path: string,
  text: string,
  action: ActionName,
  host = '',
): FleetValues => fleetValues(parseFleet(path, text), action, host);

function mergeLevels(levels: readonly Level[], action: ActionName): FleetValues {
  const values = new Map<string, FleetValue>();
  for (const { top, sections } of levels) {
    for (const [key, value] of top) {
      if (Object.hasOwn(actions[action], key)) values.set(key, value);
    }
    for (const [key, value] of sections.get(action) ?? []) values.set(key, value);
  }
  return values;
}

function findHost({ path }: Fleet, hosts: ReadonlyMap<string, FleetHost>, host: string): FleetHost {
  const [only] = hosts.values();
  const found = host === '' && hosts.size === 1 ? only : hosts.get(host.trim());
  if (found !== undefined) return found;
  const names = [...hosts.keys()];
  const shown = names.length > 8 ? [...names.slice(0, 8), '…'] : names;
  const expected = `the name of a host in ${path}: ${shown.join(', ')}`;
  if (host === '') throw new ConfigError('input host', 'missing `host`', expected);
  const value = showValue(host);
  const problem = `${path} has no such host${value === '' ? '' : `: ${value}`}`;
  throw new ConfigError('input host', problem, expected);
}

function readFleet(file: FleetText, entries: readonly Entry[]): Pick<Fleet, 'hosts' | 'rollout'> {
  const nodes = new Map<string, Node | null>();
  for (const entry of entries) {
    if (!parts.includes(entry.key)) throw refusePart(entry);
    nodes.set(entry.key, entry.node);
  }
  const part = (name: string): readonly Entry[] => entriesOf(file, nodes.get(name) ?? null);
  const defaults = readLevel(file, part('defaults'));
  const groups = new Map<string, Level>();
  for (const entry of part('groups')) {
    checkName(entry, 'group');
    groups.set(entry.key, readLevel(file, entriesOf(file, entry.node)));
  }
  const hosts = new Map<string, FleetHost>();
  for (const entry of part('hosts')) hosts.set(entry.key, readHost(file, entry, defaults, groups));
  if (hosts.size === 0) {
    const { where } = entries.find(({ key }) => key === 'hosts') ?? { where: file.path };
    throw new ConfigError(where, '`hosts` is empty', 'a name for each host');
  }
  return { hosts, rollout: readRollout(file, part('rollout'), hosts) };
}

/** A known key has its place elsewhere in the file. */
function refusePart({ key, where }: Entry): ConfigError {
  if (!levelKeys.includes(key)) {
    return new ConfigError(where, describeKey(key, parts, allKeys), `one of ${anyPart}`);
  }
  const problem = `\`${key}\` beside \`hosts\``;
  return new ConfigError(where, problem, `\`${key}\` within \`defaults\`, a group or a host`);
}

function readHost(
  file: FleetText,
  entry: Entry,
  defaults: Level,
  groups: ReadonlyMap<string, Level>,
): FleetHost {
  checkName(entry, 'host');
  const entries = entriesOf(file, entry.node);
  const own = entries.filter(({ key }) => key !== 'groups');
  const joined = entries
    .filter(({ key }) => key === 'groups')
    .flatMap((each) => readNames(file, each))
    .map(({ text, where }) => {
      const group = groups.get(text);
      if (group === undefined) throw unknownName('group', text, where, [...groups.keys()]);
      return group;
    });
  const levels = [defaults, ...joined, readLevel(file, own)];
  return { name: entry.key, where: entry.where, levels };
}

/** The inputs and sections of one level. */
function readLevel(file: FleetText, entries: readonly Entry[]): Level {
  const top = new Map<string, FleetValue>();
  const sections = new Map<ActionName, FleetValues>();
  for (const entry of entries) {
    if (Object.hasOwn(actions, entry.key)) {
      const name = entry.key as ActionName;
      const known: Inputs = actions[name];
      const values = entriesOf(file, entry.node).map((each) => {
        const input = checkKey(each, known, `an input of ${name}`, { all: allKeys });
        return [each.key, readValue(file, each, input)] as const;
      });
      sections.set(name, new Map(values));
    } else {
      const input = checkLevelKey(entry);
      top.set(entry.key, readValue(file, entry, input));
    }
  }
  return { top, sections };
}

function checkLevelKey(entry: Entry) {
  if (parts.includes(entry.key)) {
    const problem = `\`${entry.key}\` is in the wrong place`;
    const place = entry.key === 'groups' ? 'at the top of the file or in a host' : 'at the top';
    throw new ConfigError(entry.where, problem, `\`${entry.key}\` ${place}`);
  }
  return checkKey(entry, everyInput, inputOrAction, {
    beside: Object.keys(actions),
    all: allKeys,
  });
}

function readRollout(
  file: FleetText,
  entries: readonly Entry[],
  hosts: ReadonlyMap<string, FleetHost>,
): FleetValues {
  const known: Inputs = rolloutInputs;
  const names = Object.keys(known);
  const values = entries.map((entry) => {
    const input = checkKey(entry, known, `one of ${names.join(', ')}`, {
      all: [...allKeys, ...names],
    });
    return [entry.key, readValue(file, entry, input)] as const;
  });
  for (const { text, where } of entries
    .filter(({ key }) => key === 'canary')
    .flatMap((each) => readNames(file, each))) {
    const isKnown = hosts.has(text) || text === 'none';
    if (!isKnown) throw unknownName('host', text, where, [...hosts.keys()]);
  }
  return new Map(values);
}

/** One name, or a list of names; each with its own place. */
function readNames(
  file: FleetText,
  { key, node, where }: Entry,
): readonly { readonly text: string; readonly where: string }[] {
  return (isSeq(node) ? node.items : [node]).flatMap((each) => {
    const item = each as Node | null;
    const at = placeOfNode(file, item, where);
    if (!isScalar(item) || typeof item.value !== 'string') {
      throw new ConfigError(at, `\`${key}\` is not a list of names`, 'a name, or a list of names');
    }
    const names = item.value.split(/[\s,]+/).filter((name) => name !== '');
    return names.map((text) => ({ text, where: at }));
  });
}

function checkName({ key, where }: Entry, kind: 'host' | 'group'): void {
  if (fleetName.test(key)) return;
  throw new ConfigError(
    where,
    `not a name of a ${kind}`,
    'at most 63 letters, digits and . _ -, the first a letter or digit; an address is the `host` below it',
  );
}

function unknownName(
  kind: 'host' | 'group',
  name: string,
  where: string,
  known: readonly string[],
): ConfigError {
  const problem = describeKey(name, known).replace('unknown key', `unknown ${kind}`);
  return new ConfigError(where, problem, `a ${kind} of this file`);
}
