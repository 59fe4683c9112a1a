import type { CleanUpDesired } from '../../config/cleanup-desired.ts';
import { ConfigError } from '../../model/errors.ts';
import type { Extract } from '../../model/job-store.ts';
import { type JobForest, nameRow } from './job-forest.ts';
import { meaningOf, type StoreMapping, statusWords } from './mapping.ts';

/** What is needed of a database that is too large to be copied whole. */
export function extractFor(mapping: StoreMapping, desired: CleanUpDesired): Extract {
  return {
    unit: desired.unit,
    mapping,
    suspects: Object.fromEntries(
      mapping.map((table) => {
        const meant = new Set(desired.statuses.map((word) => meaningOf(table, word)));
        const own = Object.keys(table.words).filter((word) => meant.has(meaningOf(table, word)));
        return [table.table, [...new Set([...desired.statuses, ...own])]];
      }),
    ),
    orphans: desired.orphans,
    ids: desired.ids,
  };
}

/**
 * Where the words were given, one that is not among them is more likely forgotten than meant.
 *
 * @throws ConfigError that names the first such row
 */
export function refuseUnknownWords(database: string, forest: JobForest): void {
  const known: ReadonlySet<string> = new Set(statusWords);
  for (const table of forest.mapping) {
    if (Object.keys(table.words).length === 0) continue;
    const row = forest.rows.find((each) => each.mapping === table && !known.has(each.status));
    if (row === undefined) continue;
    throw new ConfigError(
      'input stores',
      `${nameRow(row)} of ${database} has the status '${row.status}', which \`words\` does not name`,
      `\`words\` with every status of ${table.table}, each as one of ${statusWords.join(', ')}`,
    );
  }
}
