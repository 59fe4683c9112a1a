import type { Finding } from '../../model/operation.ts';
import { formatCount } from '../../model/quantities.ts';
import type { StoreRow, StoreValue } from '../../model/store-row.ts';
import { type JobForest, type JobRow, type StatusCount, statusOf } from '../tables/job-forest.ts';
import { guessMeaning } from '../tables/job-words.ts';
import { type StoreMapping, statusWords, type TableMapping } from '../tables/mapping.ts';
import type { UnknownWords } from './suspects.ts';

/*
 * Statuses of the app of which nobody has said what they mean. Rows in them are never changed; but an
 * owner should hear of them, of a large database as of a small one.
 */

/** The columns of the table with the counts. */
export const countColumns: readonly string[] = ['table', 'status', 'rows'];

export const readCounts = (rows: readonly StoreRow[]): readonly StatusCount[] =>
  rows.flatMap(({ table, status, rows: count }) =>
    typeof table === 'string' && typeof count === 'number'
      ? [{ table, status: status ?? null, rows: count }]
      : [],
  );

/** Whether the app's word, of which nobody has said what it means, reads like one of work. */
export const seemsAtWork = (status: string): boolean =>
  !statusWords.some((word) => word === status) && guessMeaning(status) === 'processing';

/** The statuses by table that read like work, among those that are counted. */
export function unknownAtWork(
  mapping: StoreMapping,
  counts: readonly StatusCount[],
  statuses: readonly string[],
): UnknownWords {
  const found = mapping.map((table) => {
    const words = counts
      .filter((each) => each.table === table.table)
      .flatMap(({ status }) => (typeof status === 'string' ? [status] : []))
      .filter((word) => seemsAtWork(statusOf(table, word)))
      .filter((word) => !statuses.includes(statusOf(table, word)));
    return [table.table, words] as const;
  });
  return new Map(found.filter(([, words]) => words.length > 0));
}

/** The longest list in one finding. */
const shown = 10;

/** A status that is no text says nothing until `words` maps it. */
function nameOf(mapping: TableMapping, value: StoreValue): string {
  if (typeof value === 'number' && statusOf(mapping, value) === '') {
    return `${value} (a number, which \`words\` has to map)`;
  }
  return statusOf(mapping, value) || 'no text';
}

/** What an owner can do about a status that may be that of work: `RUNNING`. */
function hintFor(words: readonly string[]): string {
  const word = words.find((each) => guessMeaning(each) !== null);
  return word === undefined
    ? ''
    : `; to include them, say what each means in \`stores\`: \`words: { ${JSON.stringify(word)}: ${guessMeaning(word)} }\``;
}

/** Reports rows without a usable id, and the statuses that nobody has explained. */
export function reportUnknown(forest: JobForest, statuses: readonly string[]): readonly Finding[] {
  const findings: Finding[] = [];
  for (const [table, count] of forest.withoutId) {
    const message = `${table}: skipped ${formatCount(count, 'row')} whose id is neither text nor a number`;
    findings.push({ level: 'warning', message });
  }
  const known: ReadonlySet<string> = new Set([...statusWords, ...statuses]);
  for (const mapping of forest.mapping) {
    const { table } = mapping;
    const rows = forest.rows.filter((row) => row.mapping.table === table);
    const counts = forest.counts.filter((each) => each.table === table);
    const values = [...rows.map(storedStatus), ...counts.map(({ status }) => status)];
    const strange = values.filter((value) => !known.has(statusOf(mapping, value)));
    const words = [...new Set(strange.map((value) => nameOf(mapping, value)))];
    if (words.length === 0) continue;
    const list = words.slice(0, shown).join(', ');
    const more = tellUnseen(rows, counts);
    const message = `${table}: skipped rows with an unknown status: ${list}${more}${hintFor(words)}`;
    findings.push({ level: 'notice', message });
  }
  return findings;
}

const storedStatus = ({ mapping, values }: JobRow): StoreValue => values[mapping.status] ?? null;

/** Of an extract: the statuses that read like work, of which only some rows were looked at. */
function tellUnseen(rows: readonly JobRow[], counts: readonly StatusCount[]): string {
  const told = counts.flatMap(({ status, rows: all }) => {
    if (typeof status !== 'string' || !seemsAtWork(status)) return [];
    const seen = rows.filter((row) => storedStatus(row) === status).length;
    return seen < all ? [`${seen} of ${formatCount(all, 'row')} in ${status}`] : [];
  });
  return told.length === 0 ? '' : ` (looked at ${told.join(', ')})`;
}
