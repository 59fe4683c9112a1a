import { ConfigError } from '../../model/errors.ts';
import { type JobForest, nameRow, statusOf } from './job-forest.ts';
import { statusWords } from './mapping.ts';

/**
 * If `words` are defined, a status that is not among them was probably forgotten.
 *
 * @throws ConfigError with the first such row
 */
export function refuseUnknownWords(database: string, forest: JobForest): void {
  const known: ReadonlySet<string> = new Set(statusWords);
  for (const table of forest.mapping) {
    if (Object.keys(table.words).length === 0) continue;
    const row = forest.rows.find((each) => each.mapping === table && !known.has(each.status));
    // An extract does not hold every row.
    const count = forest.counts.find(
      (each) => each.table === table.table && !known.has(statusOf(table, each.status)),
    );
    if (row === undefined && count === undefined) continue;
    const who =
      row === undefined
        ? `a row of ${table.table} in ${database}`
        : `${nameRow(row)} of ${database}`;
    const status = row?.status ?? String(count?.status ?? '');
    throw new ConfigError(
      'input stores',
      `${who} has the status '${status}', which \`words\` does not map`,
      `\`words\` for every status of ${table.table}, each mapped to one of ${statusWords.join(', ')}`,
    );
  }
}
