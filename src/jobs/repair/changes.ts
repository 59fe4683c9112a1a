import { byName } from '../../model/by-name.ts';
import type { RowChange, SqlValue, TaskCall } from '../../model/operation/jobs.ts';
import { type EpochSeconds, type Seconds, seconds } from '../../model/units.ts';
import { fitFor } from '../tables/fits.ts';
import { defaultForm, writeInstant } from '../tables/instants.ts';
import {
  ancestorsOf,
  descendantsOf,
  isOwn,
  type JobForest,
  type JobRow,
  mirrorAbove,
  pickSeen,
  rootOf,
  rowKey,
  showValue,
  vitalColumns,
} from '../tables/job-forest.ts';
import { type TableMapping, wordFor } from '../tables/mapping.ts';
import type { Counters } from './counters.ts';
import type { Fate, Fates, RepairRules } from './fate.ts';
import { fillingsFor } from './fillings.ts';
import { findJsonTexts, fitMessage, type JsonTexts } from './fitting.ts';

/** A changed row, for people. */
export interface RepairedRow {
  readonly table: string;
  readonly id: string | number;
  readonly status: string;
  /** The new status, `deleted`, or the same status when only its counters change. */
  readonly becomes: string;
  /** Since its last sign of life. */
  readonly ageSeconds: Seconds | null;
  readonly why: string;
}

export interface ListedChange {
  readonly change: RowChange;
  readonly shown: RepairedRow | null;
}

/** One group per tree, in the order of the rows found; within a group, the deepest rows first. */
export function listGroups(
  forest: JobForest,
  fates: Fates,
  counters: Counters,
  sent: ReadonlyMap<JobRow, TaskCall>,
  rules: RepairRules,
): readonly (readonly ListedChange[])[] {
  const groups = new Map<JobRow, Set<JobRow>>();
  const add = (row: JobRow): void => {
    const root = rootOf(row);
    const group = groups.get(root) ?? new Set();
    groups.set(root, group.add(row));
  };
  for (const row of fates.keys()) {
    add(row);
    // The decision also depends on the descendants and the mirror: they must be unchanged, too.
    for (const below of descendantsOf(row)) if (below.blocked === null) add(below);
    const mirror = mirrorAbove(row);
    if (mirror && mirror.blocked === null) add(mirror);
  }
  for (const row of counters.keys()) add(row);
  const depth = new Map(forest.mapping.map((table, index) => [table, index]));
  const depthOf = (row: JobRow): number => depth.get(row.mapping) ?? 0;
  const nested = countNested(forest);
  const jsonTexts = findJsonTexts(forest);
  const ownDepthOf = (row: JobRow): number => (isOwn(row) ? ancestorsOf(row).length : 0);
  return [...groups].map(([root, rows]) =>
    [...rows]
      .toSorted((a, b) => depthOf(b) - depthOf(a) || ownDepthOf(b) - ownDepthOf(a))
      .map((row) => {
        const fate = fates.get(row);
        const counted = counters.get(row) ?? {};
        const call = sent.get(row);
        const change = act(row, fate, counted, { forest, jsonTexts, rules }, call);
        const reset = fate?.becomes === 'pending' && { reset: rowKey(row) };
        return {
          change: { ...describe(row, root, forest, nested, fate), change, ...reset },
          shown: show(row, fate, counted, rules),
        };
      }),
  );
}

function describe(
  row: JobRow,
  root: JobRow,
  forest: JobForest,
  nested: Nested,
  fate: Fate | undefined,
): Omit<RowChange, 'change'> {
  const below = forest.mapping.flatMap((table) => {
    if (table.parent?.table !== row.mapping.table) return [];
    const { column } = table.parent;
    // A row below another one of its own table may reference this row as well.
    const rows =
      table.own === null
        ? row.children.filter((child) => child.mapping === table).length
        : (nested.get(table)?.get(String(row.id)) ?? 0);
    return [{ table: table.table, column, rows }];
  });
  const { table, own } = row.mapping;
  if (own !== null) {
    // The root of a tree may reference itself.
    const named = [row, ...row.children.filter(isOwn)].filter((each) =>
      names(each, own.column, row),
    );
    below.push({ table, column: own.column, rows: named.length });
  }
  if (fate?.becomes === 'deleted') {
    const none = row.mapping.bystanders.filter(
      (tie) => tie.foreignKey && tie.to === row.mapping.id,
    );
    below.push(...none.map(({ table, column }) => ({ table, column, rows: 0 })));
  }
  return {
    table: row.mapping.table,
    key: row.mapping.id,
    id: row.id,
    group: rowKey(root),
    seen: pickSeen(row, vitalColumns(row.mapping)),
    ...(fate && below.length > 0 ? { below } : {}),
  };
}

const names = (row: JobRow, column: string, other: JobRow): boolean => {
  const value = row.values[column] ?? null;
  return typeof value !== 'object' && String(value) === String(other.id);
};

/** Table with nested rows → id of a parent → number of rows that reference it. */
type Nested = ReadonlyMap<TableMapping, ReadonlyMap<string, number>>;

function countNested({ rows }: JobForest): Nested {
  const counts = new Map<TableMapping, Map<string, number>>();
  for (const { mapping, values } of rows) {
    const value = mapping.own && mapping.parent ? (values[mapping.parent.column] ?? null) : null;
    if (value === null || typeof value === 'object') continue;
    const ofTable = counts.get(mapping) ?? new Map<string, number>();
    counts.set(mapping, ofTable.set(String(value), (ofTable.get(String(value)) ?? 0) + 1));
  }
  return counts;
}

function act(
  row: JobRow,
  fate: Fate | undefined,
  counted: Readonly<Record<string, SqlValue>>,
  writing: Writing,
  call: TaskCall | undefined,
): RowChange['change'] {
  if (fate?.becomes === 'deleted') return { kind: 'delete' };
  const fated = fate ? setColumns(row, fate, fate.becomes, writing) : {};
  const sent = call === undefined ? {} : { [call.row.column]: call.id };
  const all = { ...fated, ...sent, ...counted };
  const news = Object.entries(all).filter(([column, value]) => row.values[column] !== value);
  if (news.length === 0) return { kind: 'keep' };
  const json = news
    .filter(([name, value]) => fitFor(row.mapping, name).holds === 'json' && value !== null)
    .map(([name]) => name);
  const set = Object.fromEntries(news);
  return { kind: 'update', set, ...(json.length === 0 ? {} : { json }) };
}

/** What the values of a row are written by. */
interface Writing {
  readonly forest: JobForest;
  readonly jsonTexts: JsonTexts;
  readonly rules: RepairRules;
}

function setColumns(
  row: JobRow,
  fate: Fate,
  becomes: Exclude<Fate['becomes'], 'deleted'>,
  { forest, jsonTexts, rules }: Writing,
): Record<string, SqlValue> {
  const word = wordFor(row.mapping, becomes);
  const write = (at: EpochSeconds, column: string): SqlValue => {
    const form = forest.forms.get(row.mapping.table)?.get(column) ?? defaultForm;
    return writeInstant(at, form, forest.timeZone);
  };
  const set = byName<SqlValue>();
  for (const { column, fill } of fillingsFor(row.mapping, becomes, fate.owed)) {
    const now = row.values[column];
    const fit = fitFor(row.mapping, column);
    if (fill === 'nothing') {
      if (fit.empty !== undefined) set[column] = fit.empty;
    }
    // Statuses that are numbers in the table stay numbers.
    else if (fill === 'status') set[column] = typeof now === 'number' ? Number(word) : word;
    else if (fill === 'now') set[column] = write(rules.now, column);
    else if (fill === 'end') set[column] = write(fate.endedAt, column);
    else if (fate.message !== null) {
      const text = fitMessage(fate.message, now, fit, jsonTexts.get(row.mapping)?.has(column));
      if (text !== null) set[column] = text;
    }
  }
  return set;
}

function show(
  row: JobRow,
  fate: Fate | undefined,
  counted: Readonly<Record<string, SqlValue>>,
  rules: RepairRules,
): RepairedRow | null {
  const news = Object.entries(counted).map(
    ([column, value]) => `${column} ${showValue(row.values[column])} → ${value}`,
  );
  if (!fate && news.length === 0) return null;
  const sign = fate?.lastSign ?? null;
  return {
    table: row.mapping.table,
    id: row.id,
    status: row.status,
    becomes: fate?.becomes ?? row.status,
    ageSeconds: sign === null ? null : seconds(rules.now - sign),
    why: [fate?.why, ...news].filter((text) => text !== undefined).join('; '),
  };
}
