import type { Extract, ExtractTable } from '../../model/job-store.ts';
import { bystanderColumns } from '../tables/bystanders.ts';
import { readableColumns } from '../tables/job-forest.ts';
import { type StoreMapping, type TableMapping, wordsFor } from '../tables/mapping.ts';

/** Minimum length of a shortened id. */
export const prefixLength = 8;

/** An id as the user gives it: `12ab34cd`, or `jobs:12ab34cd` if the id exists in two tables. */
export interface NamedId {
  /** `null`: any table. */
  readonly table: string | null;
  readonly text: string;
  /** Whether it is long enough for a shortened id. */
  readonly mayBegin: boolean;
}

/** Parses an id; the text before a colon is a table only if such a table exists. */
export function readNamedId(mapping: StoreMapping, id: string): NamedId {
  const match = /^([^:]+):(.+)$/s.exec(id);
  const known = mapping.some(({ table }) => table === match?.[1]);
  const [table, text] = known && match?.[1] && match[2] ? [match[1], match[2]] : [null, id];
  return { table, text, mayBegin: text.length >= prefixLength };
}

/** Which rows may need repair. */
export interface Suspicion {
  readonly unit: string;
  /** In Celeriac's words or those of the app. */
  readonly statuses: readonly string[];
  readonly orphans: boolean;
  /** If there are any: only these rows. */
  readonly ids: readonly string[];
}

/** The table of an extract with the counts by status. */
export const countsTable = 'celeriac_status_counts';

/** How many rows in an unknown status are looked at; how many there are is counted. */
const mostUnknown = 200;

/** Words of the app that nobody has explained, by table. */
export type UnknownWords = ReadonlyMap<string, readonly string[]>;

/**
 * The rows that `findStuckRows` or `selectNamed` could select: only these, with their related rows, are
 * copied from a database that is too large to be copied whole.
 *
 * @param unknown statuses of which some rows are read as well, because they look like those of work
 */
export const planExtract = (
  mapping: StoreMapping,
  wishes: Suspicion,
  unknown: UnknownWords = new Map(),
): Extract => ({
  unit: wishes.unit,
  tables: mapping.map((table) => extractTable(table, mapping, wishes, unknown)),
  counts: countsTable,
  mostUnknown,
});

function extractTable(
  table: TableMapping,
  mapping: StoreMapping,
  { statuses, orphans, ids }: Suspicion,
  unknown: UnknownWords,
): ExtractTable {
  const byStatus = ids.length === 0;
  // A parent may stay pending while its rows run, and ends with them.
  const isParent =
    table.own !== null || mapping.some(({ parent }) => parent?.table === table.table);
  const wanted = isParent ? [...statuses, 'pending'] : statuses;
  const named = ids
    .map((id) => readNamedId(mapping, id))
    .filter((each) => each.table === null || each.table === table.table);
  return {
    table: table.table,
    id: table.id,
    status: table.status,
    columns: readableColumns(table),
    parent: table.parent,
    own: table.own,
    statuses: byStatus ? asStored(wordsFor(table, wanted)) : [],
    unknown: unknown.get(table.table) ?? [],
    orphanedBy: byStatus && orphans ? tiesOf(table) : [],
    ids: asStored(named.map(({ text }) => text)),
    beginnings: named.filter(({ mayBegin }) => mayBegin).map(({ text }) => text),
    bystanders: table.bystanders.map((tie) => ({
      table: tie.table,
      column: tie.column,
      to: tie.to,
      foreignKey: tie.foreignKey,
      columns: bystanderColumns(tie),
    })),
  };
}

/** Without a foreign key, a row is an orphan only in a status that is searched for anyway. */
const tiesOf = ({ table, parent, own }: TableMapping): ExtractTable['orphanedBy'] =>
  [parent, own === null ? null : { table, ...own }].flatMap((tie) =>
    tie?.foreignKey === true ? [tie] : [],
  );

/** Text that is a number may be stored as a number. */
const asStored = (texts: readonly string[]): readonly (string | number)[] => [
  ...new Set(texts.flatMap((text) => (isNumber(text) ? [text, Number(text)] : [text]))),
];

const isNumber = (text: string): boolean =>
  /^\d+$/.test(text) && Number.isSafeInteger(Number(text)) && String(Number(text)) === text;
