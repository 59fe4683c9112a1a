import type { StoreTable } from '../../model/facts/store.ts';
import { readTableName } from './job-words.ts';

/* How to include a table that is skipped: what is shown can be copied into a workflow as it is. */

/** A table that is skipped, and why. */
interface Skipped {
  readonly table: Pick<StoreTable, 'name'>;
  readonly reason: string;
}

/** The value of `stores` that includes a table, as YAML on one line. */
export const yamlFor = (
  database: string,
  table: string,
  columns: Readonly<Record<string, string>> = {},
): string => {
  const named = Object.entries(columns).map(([key, column]) => `${key}: ${column}`);
  const spec = named.length === 0 ? '{}' : `{ ${named.join(', ')} }`;
  return `[{ database: ${JSON.stringify(database)}, tables: { ${JSON.stringify(table)}: ${spec} } }]`;
};

/** The input `stores` that includes a table, as a workflow has it. */
const linesFor = (database: string, table: string): readonly string[] => [
  'stores: |',
  `  - database: ${JSON.stringify(database)}`,
  '    tables:',
  `      ${JSON.stringify(table)}: {}`,
];

/**
 * The value of `stores` that would include one of these tables: the one that is named like a job, or
 * the only one.
 */
export function howToInclude(database: string, doubtful: readonly Skipped[]): string {
  const named = doubtful.find(({ table }) => readTableName(table.name) !== null);
  const one = named ?? (doubtful.length === 1 ? doubtful[0] : undefined);
  const which =
    one === undefined || doubtful.length === 1 ? 'one' : `one, such as ${one.table.name}`;
  return `to include ${which}, add it to \`stores\`: ${yamlFor(database, one?.table.name ?? 'TABLE')}`;
}

/** Each skipped table, with its reason and the four lines that would include it. */
export const describeSkipped = (
  database: string,
  doubtful: readonly Skipped[],
): readonly string[] =>
  doubtful.flatMap(({ table, reason }) => [
    `skipped ${table.name}: doubtful: ${reason}; to include it:`,
    ...linesFor(database, table.name).map((line) => `  ${line}`),
  ]);
