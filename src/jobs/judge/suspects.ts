import type { Extract, ExtractTable } from '../../model/job-store.ts';
import { bystanderColumns } from '../tables/bystanders.ts';
import { readableColumns } from '../tables/job-forest.ts';
import { type StoreMapping, type TableMapping, wordsFor } from '../tables/mapping.ts';

/** The shortest beginning of an id that is taken for the whole. */
export const prefixLength = 8;

/** What a person names a row by: `12ab34cd`, or `jobs:12ab34cd` where tables share their ids. */
export interface NamedId {
  /** `null`: of any table. */
  readonly table: string | null;
  readonly text: string;
  /** Long enough to be the beginning of an id. */
  readonly mayBegin: boolean;
}

/** Reads an id; what stands before a colon is a table only if it is one of these. */
export function readNamedId(mapping: StoreMapping, id: string): NamedId {
  const match = /^([^:]+):(.+)$/s.exec(id);
  const known = mapping.some(({ table }) => table === match?.[1]);
  const [table, text] = known && match?.[1] && match[2] ? [match[1], match[2]] : [null, id];
  return { table, text, mayBegin: text.length >= prefixLength };
}

/** What a person wishes of the rows that may want repair. */
export interface Suspicion {
  readonly unit: string;
  /** In our words or the app's. */
  readonly statuses: readonly string[];
  readonly orphans: boolean;
  /** Where there are any, these rows and no others. */
  readonly ids: readonly string[];
}

/**
 * The rows that `findStuckRows` or `selectNamed` could pick, so that of a database that is too large
 * to be copied whole these alone are, with their families.
 */
export const planExtract = (mapping: StoreMapping, wishes: Suspicion): Extract => ({
  unit: wishes.unit,
  tables: mapping.map((table) => extractTable(table, mapping, wishes)),
});

function extractTable(
  table: TableMapping,
  mapping: StoreMapping,
  { statuses, orphans, ids }: Suspicion,
): ExtractTable {
  const byStatus = ids.length === 0;
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
    statuses: byStatus ? asStored(wordsFor(table, statuses)) : [],
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

/** Without a foreign key a row is an orphan only in a status that is looked for anyway. */
const tiesOf = ({ table, parent, own }: TableMapping): ExtractTable['orphanedBy'] =>
  [parent, own === null ? null : { table, ...own }].flatMap((tie) =>
    tie?.foreignKey === true ? [tie] : [],
  );

/** Text that is a number may be kept as one. */
const asStored = (texts: readonly string[]): readonly (string | number)[] => [
  ...new Set(texts.flatMap((text) => (isNumber(text) ? [text, Number(text)] : [text]))),
];

const isNumber = (text: string): boolean =>
  /^\d+$/.test(text) && Number.isSafeInteger(Number(text)) && String(Number(text)) === text;
