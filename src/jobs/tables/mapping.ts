import { byName, ownValue } from '../../model/by-name.ts';
import { ConfigError } from '../../model/errors.ts';
import type { StoreTable } from '../../model/facts/store.ts';
import type {
  ParentMapping,
  StatusWord,
  StoreMapping,
  TableMapping,
} from '../../model/job-store.ts';
import { columnNames, findColumn, idColumn, statusColumn, taskColumn } from './columns.ts';
import { findCounters } from './counter-columns.ts';
import { fitsOf } from './fits.ts';
import { howToInclude } from './include-table.ts';
import {
  doubtfulOf,
  explainDoubtful,
  isOthers,
  jobTablesOf,
  judgeTables,
  type TableVerdict,
} from './job-tables.ts';
import { listNames } from './names.ts';
import { findSpelling, labelsOf } from './spelled-words.ts';
import {
  breakCycles,
  chooseParent,
  depthOf,
  findBystanders,
  findOwnTie,
  findTies,
  mayNameAppTask,
  type Parents,
  type TableSpecs,
} from './ties.ts';
import { findTime, timeColumns } from './time-columns.ts';

export type { CounterMapping, StoreMapping, TableMapping } from '../../model/job-store.ts';
export type { TableSpecs } from './ties.ts';

export const statusWords: readonly StatusWord[] = [
  'pending',
  'processing',
  'completed',
  'partial',
  'failed',
  'cancelled',
];

const endedWords: ReadonlySet<string> = new Set(['completed', 'partial', 'failed', 'cancelled']);

/** Whether this status is final. */
export const isEnded = (status: string): boolean => endedWords.has(status);

/** Whether this status says that work was done. */
export const isDoneWork = (status: string): boolean =>
  status === 'completed' || status === 'partial';

/**
 * Finds the tables of jobs (see `judgeTables`), the meaning of their columns, and their relations. A
 * spec takes precedence over what the schema suggests.
 *
 * @param where the position of the specs, for errors
 * @throws ConfigError when no table certainly holds jobs, when a spec names something that does not
 * exist, or when the parent of a table is ambiguous
 */
export function proposeMapping(
  database: string,
  tables: readonly StoreTable[],
  specs: TableSpecs = byName(),
  where = 'input stores',
): StoreMapping {
  refuseUnknownNames(database, tables, specs, where);
  const verdicts = judgeTables(tables, specs);
  const job = jobTablesOf(verdicts);
  if (job.length === 0) throw noJobTable(database, tables, doubtfulOf(verdicts));
  refuseDoubtfulParents(verdicts, specs, where);
  const ties = new Map(job.map((table) => [table.name, findTies(table, job, specs)]));
  const found = job.map((table) => [table.name, chooseParent(table, job, ties, specs)] as const);
  const parents = breakCycles(database, new Map(found), specs);
  const mapped = job.map((table) => mapTable(table, parents, tables, job, specs));
  return addPartial(
    mapped.toSorted((a, b) => depthOf(a.table, parents) - depthOf(b.table, parents)),
    job,
  );
}

/** What to write where there is nothing to find. */
export const orNone = 'or `database: none` if the app has no tables of jobs';

function noJobTable(
  database: string,
  tables: readonly StoreTable[],
  doubtful: readonly TableVerdict[],
): ConfigError {
  if (doubtful.length > 0) {
    const names = doubtful.map(({ table }) => table.name);
    return new ConfigError(
      'input stores',
      `cannot tell whether ${listNames(names)} in ${database} hold jobs: ${explainDoubtful(doubtful)}`,
      `a table that certainly holds jobs; ${howToInclude(database, doubtful)}; ${orNone}`,
    );
  }
  const seen = tables.map((table) =>
    isOthers(table) ? `${table.name} (not the app's)` : table.name,
  );
  return new ConfigError(
    'input database',
    `${database} has no table with both an id and a status column; its tables: ${listNames(seen)}`,
    `the database with the app's jobs; ${orNone}`,
  );
}

/** A parent changes with its rows, so it must be a table of jobs itself. */
function refuseDoubtfulParents(
  verdicts: readonly TableVerdict[],
  specs: TableSpecs,
  where: string,
): void {
  const job = new Set(jobTablesOf(verdicts).map(({ name }) => name));
  for (const [name, { parent }] of Object.entries(specs)) {
    if (!parent || job.has(parent.table)) continue;
    const why = verdicts.find(({ table }) => table.name === parent.table)?.reason;
    throw new ConfigError(
      where,
      `\`${parent.table}\`, the parent of \`${name}\`, is not recognized as a table of jobs${why ? `: ${why}` : ''}`,
      `\`${parent.table}\` in \`tables\` as well, or \`parent: null\``,
    );
  }
}

function refuseUnknownNames(
  database: string,
  tables: readonly StoreTable[],
  specs: TableSpecs,
  where: string,
): void {
  for (const [name, spec] of Object.entries(specs)) {
    const table = tables.find((each) => each.name === name);
    if (table === undefined) {
      const seen = listNames(tables.map((each) => each.name));
      throw new ConfigError(where, `${database} has no table \`${name}\``, `one of: ${seen}`);
    }
    const { parent, resend, id, status, created, started, completed, updated, error, task } = spec;
    const named = [id, status, created, started, completed, updated, error, task];
    const columns = [...named, parent?.column, ...(resend?.args ?? [])];
    const known = table.columns.map((column) => column.name);
    const wrong = columns.find((column) => column != null && !known.includes(column));
    if (wrong != null) {
      const expected = `one of its columns: ${listNames(known)}`;
      throw new ConfigError(where, `table \`${name}\` has no column \`${wrong}\``, expected);
    }
    if (parent && !tables.some((each) => each.name === parent.table)) {
      throw new ConfigError(
        where,
        `\`${parent.table}\`, the parent of \`${name}\`, does not exist`,
        `one of: ${listNames(tables.map((each) => each.name))}`,
      );
    }
    if (resend && task != null && task === idColumn(table, spec)) {
      throw new ConfigError(
        where,
        `table \`${name}\` has the id of the task as its own id, which cannot change when a task is sent again`,
        'no `resend` for this table',
      );
    }
    if (resend && (task === null || (task ?? taskColumn(table)) === null)) {
      throw new ConfigError(
        where,
        `table \`${name}\` has no column for the task id`,
        '`task`, the column that stores the id of the task that is sent',
      );
    }
  }
}

function mapTable(
  table: StoreTable,
  parents: Parents,
  tables: readonly StoreTable[],
  job: readonly StoreTable[],
  specs: TableSpecs,
): TableMapping {
  const spec = ownValue(specs, table.name) ?? {};
  const parent = parents.get(table.name) ?? null;
  const time = (name: 'created' | 'started' | 'completed' | 'updated'): string | null => {
    const said = spec[name];
    return said === undefined ? findTime(table, columnNames[name]) : said;
  };
  const status = statusColumn(table, spec) ?? 'status';
  const words = spec.words ?? {};
  const labels = labelsOf(table, status);
  return {
    table: table.name,
    id: idColumn(table, spec) ?? 'id',
    status,
    parent,
    own: findOwnTie(table, spec),
    words,
    used: statusWords.filter((word) => (labels ?? table.statuses)?.includes(word)),
    partial: null,
    spelled: findSpelling(table, status, statusWords, Object.keys(words)),
    labels,
    resend: spec.resend ?? null,
    created: time('created'),
    started: time('started'),
    completed: time('completed'),
    updated: time('updated'),
    error: spec.error === undefined ? findColumn(table, columnNames.error) : spec.error,
    task: spec.task === undefined ? ownTask(table, parent, tables) : spec.task,
    fits: fitsOf(table),
    times: timeColumns(table, spec),
    counters: findCounters(table, parents, job),
    bystanders: findBystanders(table, tables, job, specs, isOthers),
  };
}

/** A column that references the parent does not hold task ids. */
function ownTask(
  table: StoreTable,
  parent: ParentMapping | null,
  tables: readonly StoreTable[],
): string | null {
  const column = taskColumn(table);
  if (column === null || column === parent?.column) return null;
  return mayNameAppTask(table, column, tables) ? null : column;
}

/**
 * Celeriac's word for a status of the app, in whatever case; the status itself if it is not mapped.
 * `words` that differ in case alone are kept apart.
 */
export function meaningOf(
  { words, spelled }: Pick<TableMapping, 'words' | 'spelled'>,
  word: string,
): string {
  if (Object.hasOwn(words, word)) return words[word] ?? word;
  const lower = word.toLowerCase();
  const said = Object.keys(words).find((each) => each.toLowerCase() === lower);
  if (said !== undefined) return words[said] ?? word;
  return statusWords.find((each) => [each, spelled[each]?.toLowerCase()].includes(lower)) ?? word;
}

/** These statuses, and all words of the app that mean one of them. */
export function wordsFor(mapping: TableMapping, statuses: readonly string[]): readonly string[] {
  const meant = new Set(statuses.map((word) => meaningOf(mapping, word)));
  const own = Object.keys(mapping.words).filter((word) => meant.has(meaningOf(mapping, word)));
  const spelled = statusWords.flatMap((word) =>
    meant.has(word) ? (mapping.spelled[word] ?? []) : [],
  );
  const partial = meant.has('partial') && mapping.partial !== null ? [mapping.partial] : [];
  return [...new Set([...statuses, ...own, ...spelled, ...partial])];
}

/**
 * The app's word for a status of Celeriac. One of Celeriac's own words that is read as another
 * (`partial: completed`) is never written for it.
 */
export function wordFor(mapping: TableMapping, status: StatusWord): string {
  if (status === 'partial' && mapping.partial !== null) return mapping.partial;
  if (mapping.used.includes(status) && meaningOf(mapping, status) === status) return status;
  const words = Object.entries(mapping.words).filter(
    ([word, meaning]) =>
      meaning === status &&
      !statusWords.some((own) => own !== status && own === word.toLowerCase()),
  );
  return words[0]?.[0] ?? mapping.spelled[status] ?? status;
}

/**
 * The mapping for people to check: one line per table, with how certain it is that it holds jobs, and why.
 *
 * @param verdicts where the reasons come from; without them, no reasons are shown
 */
export function describeMapping(
  mapping: StoreMapping,
  verdicts: readonly TableVerdict[] = [],
): readonly string[] {
  return mapping.map((table) => {
    const { parent, own, task, error, times, resend } = table;
    const words = Object.entries({ ...othersFor(table), ...table.words }).map(
      ([word, meaning]) => `${word} = ${meaning}`,
    );
    const parts = [
      `id: ${table.id}`,
      `status: ${table.status}${words.length > 0 ? ` (${words.join(', ')})` : ''}`,
      parent === null ? 'no parent' : describeTie(parent),
      ...(own === null ? [] : [describeTie({ table: 'the same table', ...own })]),
      `timestamps: ${times.join(', ') || 'none'}`,
      `task: ${task ?? 'none'}`,
      `error: ${error ?? 'none'}`,
      ...(resend === null ? [] : [`resend: ${resend.task}(${resend.args.join(', ')})`]),
      ...verdicts
        .filter((each) => each.table.name === table.table)
        .map(({ class: kind, reason }) => (kind === 'named' ? reason : `${kind}: ${reason}`)),
    ];
    return `${table.table}: ${parts.join('; ')}`;
  });
}

/** Labels that are other words for Celeriac's, not just in another case. */
const othersFor = ({ spelled }: TableMapping): Readonly<Record<string, string>> =>
  Object.fromEntries(
    Object.entries(spelled)
      .filter(([word, label]) => label.toLowerCase() !== word)
      .map(([word, label]) => [label, word]),
  );

const describeTie = ({ table, column, foreignKey }: ParentMapping): string =>
  `child of ${table} by ${column}${foreignKey ? '' : ' (no foreign key)'}`;

/**
 * Adds the app's word for work that completed in part. An app that uses it in one of its tables of
 * jobs uses it in the others as well, although none of their rows may have it yet.
 *
 * @param tables the same tables, with their statuses
 */
function addPartial(mapping: StoreMapping, tables: readonly StoreTable[]): StoreMapping {
  const own = new Map(mapping.map((table) => [table.table, ownWord(table, tables)]));
  const shared = [...own.values()].find((word) => word !== null) ?? null;
  const takes = (table: TableMapping): boolean =>
    shared !== null &&
    meaningOf(table, shared) === 'partial' &&
    // A table with other words for all of its statuses has another one for this, or none.
    (Object.keys(table.words).length === 0 || table.used.length > 0) &&
    // Nor does a list of labels have the words of another table.
    table.labels === null &&
    /^$|char|text|clob|string/i.test(typeOfStatus(table, tables));
  return mapping.map((table) => ({
    ...table,
    partial: own.get(table.table) ?? (takes(table) ? shared : null),
  }));
}

function ownWord(table: TableMapping, tables: readonly StoreTable[]): string | null {
  const said = Object.entries(table.words).find(([, meaning]) => meaning === 'partial')?.[0];
  const statuses = tables.find(({ name }) => name === table.table)?.statuses ?? [];
  const found = [...statuses, ...(table.labels ?? [])].find(
    (status) => typeof status === 'string' && meaningOf(table, status) === 'partial',
  );
  return said ?? (typeof found === 'string' ? found : null);
}

const typeOfStatus = (table: TableMapping, tables: readonly StoreTable[]): string =>
  tables.find(({ name }) => name === table.table)?.columns.find(({ name }) => name === table.status)
    ?.type ?? '';
