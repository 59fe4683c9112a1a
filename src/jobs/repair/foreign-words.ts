import { ConfigError } from '../../model/errors.ts';
import type { RowChange } from '../../model/operation/jobs.ts';
import type { JobForest } from '../tables/job-forest.ts';
import { guessMeaning } from '../tables/job-words.ts';
import { meaningOf, statusWords, type TableMapping } from '../tables/mapping.ts';
import { listNames } from '../tables/names.ts';

/**
 * A status column with labels takes no other word: better to say so, with the labels, than to have
 * the database reject the change. Columns without labels are judged by the rehearsal alone.
 *
 * @throws ConfigError with the first word that a column does not take
 */
export function refuseForeignWords(
  database: string,
  { mapping }: JobForest,
  changes: readonly RowChange[],
): void {
  for (const { table, change } of changes) {
    const own = mapping.find((each) => each.table === table);
    if (own === undefined || own.labels === null || change.kind !== 'update') continue;
    const word = change.set[own.status];
    if (typeof word !== 'string' || own.labels.includes(word)) continue;
    throw new ConfigError(
      'input stores',
      `${table}.${own.status} of ${database} does not take '${word}', which this run has to write; it takes only ${listNames(own.labels)}`,
      `the app's word for ${meaningOf(own, word)}, for example ${exampleFor(database, own, meaningOf(own, word))}; nothing was changed on the host`,
    );
  }
}

/**
 * Where no status column takes a word that Celeriac knows, nothing can be found: that is no database
 * without stuck jobs.
 *
 * @throws ConfigError with the labels of the first table
 */
export function refuseForeignLabels(
  database: string,
  { mapping }: Pick<JobForest, 'mapping'>,
): void {
  const isForeign = (own: TableMapping): boolean =>
    own.labels?.every((label) => !isKnown(meaningOf(own, label))) ?? false;
  const [first] = mapping;
  if (first === undefined || !mapping.every(isForeign)) return;
  throw new ConfigError(
    'input stores',
    `${first.table}.${first.status} of ${database} takes only ${listNames(first.labels ?? [])}, none of which is a known status of jobs`,
    `what each of them means, for example ${exampleFor(database, first, 'processing')}; nothing was changed on the host`,
  );
}

const isKnown = (word: string): boolean => statusWords.some((each) => each === word);

/** The value of `stores` that says what each label means, as far as it can be guessed. */
function exampleFor(database: string, own: TableMapping, needed: string): string {
  const open = (own.labels ?? []).filter((label) => !isKnown(meaningOf(own, label)));
  const said = open.flatMap((label) => {
    const meaning = guessMeaning(label);
    return meaning === null ? [] : [[label, meaning] as const];
  });
  const isSaid = said.some(([, meaning]) => meaning === needed);
  const missing = isSaid ? [] : [['LABEL', needed] as const];
  const pairs = [...Object.entries(own.words), ...said, ...missing].map(
    ([label, meaning]) => `${JSON.stringify(label)}: ${meaning}`,
  );
  return `[{ database: ${JSON.stringify(database)}, tables: { ${JSON.stringify(own.table)}: { words: { ${pairs.join(', ')} } } } }]`;
}
