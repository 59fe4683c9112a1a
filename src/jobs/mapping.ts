import type { TableSpec } from '../config/stores-input.ts';
import { ConfigError } from '../model/errors.ts';
import type { StoreTable } from '../model/facts.ts';
import type {
  CounterMapping,
  OwnTie,
  ParentMapping,
  StatusWord,
  StoreMapping,
  TableMapping,
} from '../model/job-store.ts';

export type { CounterMapping, StoreMapping, TableMapping } from '../model/job-store.ts';

export const statusWords: readonly StatusWord[] = [
  'pending',
  'processing',
  'completed',
  'failed',
  'cancelled',
];

const endedWords: ReadonlySet<string> = new Set(['completed', 'failed', 'cancelled']);

/** Nothing more happens to a row in this status. */
export const isEnded = (status: string): boolean => endedWords.has(status);

const columnNames = {
  created: ['created_at', 'created', 'submitted_at', 'queued_at', 'date_created', 'creation_time'],
  started: ['started_at', 'started', 'date_started', 'start_time', 'processing_started_at'],
  completed: ['completed_at', 'finished_at', 'ended_at', 'date_done', 'end_time', 'done_at'],
  updated: ['updated_at', 'modified_at', 'heartbeat_at', 'last_heartbeat', 'last_seen_at'],
  error: ['error_message', 'error', 'last_error', 'failure_reason', 'error_text'],
  task: ['celery_task_id', 'task_id'],
} as const;

/** Tables of Celery, Kombu and Django that hold results and messages, not the app's jobs. */
const foreignTables = /^(?:celery_|kombu_|django_|sqlite_|alembic_)/i;

/** A table that is called so holds work. */
const jobName = /(?:^|_)(?:jobs?|tasks?|batch(?:es)?|queues?|works?|work_items?|runs?)(?:_|$)/i;

/** A time in the future, or of something else than work. */
const noSignOfLife = /(?:expire|expiry|schedul|eta$|due|deadline|deleted|retry|remind|birth)/i;

/** What a person says of the tables, by their names. */
export type TableSpecs = Readonly<Record<string, TableSpec>>;

/**
 * Finds the tables that hold jobs, by the names of their columns: an `id`, a `status`, and what
 * ties them to each other. What is said of a table counts more than what its schema suggests.
 *
 * @param where the place of the specs, for errors
 * @throws ConfigError when no table has both an id and a status column, when a spec names what is
 * not there, or when it can't be told which table is the parent
 */
export function proposeMapping(
  database: string,
  tables: readonly StoreTable[],
  specs: TableSpecs = {},
  where = 'input stores',
): StoreMapping {
  refuseUnknownNames(database, tables, specs, where);
  const job = findJobTables(tables, specs);
  if (job.length === 0) {
    throw noJobTable(database, tables, listDoubtful(tables, specs));
  }
  const ties = new Map(job.map((table) => [table.name, findTies(table, job)]));
  const found = job.map((table) => [table.name, chooseParent(table, ties, specs)] as const);
  const parents = breakCycles(database, new Map(found), specs);
  const mapped = job.map((table) => mapTable(table, parents, job, specs[table.name] ?? {}));
  return mapped.toSorted((a, b) => depthOf(a.table, parents) - depthOf(b.table, parents));
}

/**
 * Those with an id and a status that hold Celery's work: by what was said, a column with the id of a
 * task, their name, or a tie to such a table. An order may be "processing" for days, too.
 */
function findJobTables(tables: readonly StoreTable[], specs: TableSpecs): readonly StoreTable[] {
  const candidates = tables.filter((table) => isJobTable(table, specs[table.name]));
  const sure = new Set(
    candidates.filter(
      (table) =>
        specs[table.name] !== undefined ||
        findColumn(table, columnNames.task) !== null ||
        jobName.test(table.name),
    ),
  );
  const ties = candidates.flatMap((table) =>
    findTies(table, candidates).map((tie) => [table, tie.table] as const),
  );
  for (let before = -1; before !== sure.size; ) {
    before = sure.size;
    for (const [table, parent] of ties) {
      const upper = candidates.find(({ name }) => name === parent);
      if (upper && (sure.has(table) || sure.has(upper))) sure.add(table).add(upper);
    }
  }
  return candidates.filter((table) => sure.has(table));
}

/** Tables with an id and a status of which nothing tells that they hold jobs. */
export function listDoubtful(
  tables: readonly StoreTable[],
  specs: TableSpecs = {},
): readonly string[] {
  const sure = findJobTables(tables, specs);
  return tables
    .filter((table) => isJobTable(table, specs[table.name]) && !sure.includes(table))
    .map((table) => table.name);
}

/** Whether there is a table of jobs among them. */
export const holdJobs = (tables: readonly StoreTable[]): boolean =>
  findJobTables(tables, {}).length > 0;

/** Whether a table has both an id and a status column, and is the app's own. */
function isJobTable(table: StoreTable, spec?: TableSpec): boolean {
  if (spec?.ignore === true || (spec === undefined && foreignTables.test(table.name))) return false;
  return idColumn(table, spec) !== null && statusColumn(table, spec) !== null;
}

const idColumn = (table: StoreTable, spec?: TableSpec): string | null =>
  spec?.id ?? findColumn(table, ['id', 'uuid', `${singularOf(table.name)}_id`]);

const statusColumn = (table: StoreTable, spec?: TableSpec): string | null =>
  spec?.status ?? findColumn(table, ['status']);

function noJobTable(
  database: string,
  tables: readonly StoreTable[],
  doubtful: readonly string[],
): ConfigError {
  if (doubtful.length > 0) {
    return new ConfigError(
      'input stores',
      `whether ${listNames(doubtful)} of ${database} hold jobs can't be told: they have an id and a status, but no id of a task`,
      'the tables of jobs by their names, in `stores`',
    );
  }
  const seen = tables.map((table) => table.name);
  return new ConfigError(
    'input database',
    `${database} has no table with both an id and a status column; its tables: ${listNames(seen)}`,
    'the database in which the app keeps its jobs',
  );
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
        `the parent of \`${name}\` is a table that is not there: \`${parent.table}\``,
        `one of: ${listNames(tables.map((each) => each.name))}`,
      );
    }
    if (resend && (task === null || (task ?? findColumn(table, columnNames.task)) === null)) {
      throw new ConfigError(
        where,
        `table \`${name}\` has no column for the id of its task`,
        '`task`: a task is sent again under an id that its row names',
      );
    }
  }
}

type Parents = ReadonlyMap<string, ParentMapping | null>;

function mapTable(
  table: StoreTable,
  parents: Parents,
  job: readonly StoreTable[],
  spec: TableSpec,
): TableMapping {
  const column = (name: keyof typeof columnNames): string | null => {
    const said = spec[name];
    return said === undefined ? findColumn(table, columnNames[name]) : said;
  };
  const columns = {
    created: column('created'),
    started: column('started'),
    completed: column('completed'),
    updated: column('updated'),
    error: column('error'),
    task: column('task'),
  };
  const { created, started, completed, updated } = columns;
  const own = findOwnTie(table, spec);
  const named = [created, started, completed, updated].filter((name) => name !== null);
  const others = table.columns
    .map((column) => column.name)
    .filter((name) => /_at$/i.test(name) && !noSignOfLife.test(name) && !named.includes(name));
  return {
    table: table.name,
    id: idColumn(table, spec) ?? 'id',
    status: statusColumn(table, spec) ?? 'status',
    parent: parents.get(table.name) ?? null,
    own,
    words: spec.words ?? {},
    resend: spec.resend ?? null,
    ...columns,
    times: [...named, ...others],
    counters: findCounters(table, parents, job),
  };
}

function findColumn(table: StoreTable, names: readonly string[]): string | null {
  for (const name of names) {
    const column = table.columns.find((candidate) => candidate.name.toLowerCase() === name);
    if (column) return column.name;
  }
  return null;
}

/** By foreign keys, else by columns such as `job_id` that name another table of jobs. */
function findTies(table: StoreTable, job: readonly StoreTable[]): readonly ParentMapping[] {
  const keys = table.foreignKeys.flatMap((key): ParentMapping[] => {
    const parent = job.find((other) => other.name.toLowerCase() === key.table.toLowerCase());
    // The column is left empty when the key means the parent's primary key.
    const toId =
      !key.to || ['id', idColumn(parent ?? table)?.toLowerCase()].includes(key.to.toLowerCase());
    return parent && parent !== table && toId
      ? [{ table: parent.name, column: key.column, foreignKey: true }]
      : [];
  });
  if (keys.length > 0) return keys;
  return table.columns.flatMap((column): ParentMapping[] => {
    const singular = /^(.+)_id$/i.exec(column.name)?.[1]?.toLowerCase();
    const parent = job.find((other) => other !== table && singularOf(other.name) === singular);
    return parent ? [{ table: parent.name, column: column.name, foreignKey: false }] : [];
  });
}

/** By a foreign key to the table itself, else by a column such as `parent_id`. */
function findOwnTie(table: StoreTable, { parent: said, id }: TableSpec): OwnTie | null {
  if (said === null) return null;
  const ids = ['id', idColumn(table, { id })?.toLowerCase()];
  const keys = table.foreignKeys.filter(
    (key) =>
      key.table.toLowerCase() === table.name.toLowerCase() &&
      (!key.to || ids.includes(key.to.toLowerCase())),
  );
  const key = (column: string): boolean => keys.some((each) => each.column === column);
  if (said?.table === table.name) return { column: said.column, foreignKey: key(said.column) };
  const named = table.columns.find(({ name }) => {
    const match = /^parent_(?:(.+)_)?id$/i.exec(name);
    return match && [undefined, singularOf(table.name)].includes(match[1]?.toLowerCase());
  });
  const column = keys[0]?.column ?? named?.name;
  return column === undefined ? null : { column, foreignKey: key(column) };
}

/**
 * The nearest one: a link that names its batch and its job, too, belongs to the batch.
 *
 * @throws ConfigError when there are several and none is below the others
 */
function chooseParent(
  table: StoreTable,
  ties: ReadonlyMap<string, readonly ParentMapping[]>,
  specs: TableSpecs,
): ParentMapping | null {
  const own = ties.get(table.name) ?? [];
  const said = specs[table.name]?.parent;
  if (said === null) return null;
  if (said !== undefined && said.table !== table.name) {
    const foreignKey = own.some((tie) => tie.foreignKey && tie.column === said.column);
    return { ...said, foreignKey };
  }
  const nearest = own.filter(
    (tie) =>
      !own.some((other) => other.table !== tie.table && reaches(other.table, tie.table, ties)),
  );
  const names = new Set(nearest.map((tie) => tie.table));
  if (names.size > 1) {
    const list = nearest.map((tie) => `${tie.table} by ${tie.column}`).join(', ');
    throw new ConfigError(
      'input stores',
      `which table is above \`${table.name}\` can't be told: ${list}`,
      `its \`parent\`: { table, column }, or null`,
    );
  }
  return nearest[0] ?? null;
}

function reaches(
  from: string,
  to: string,
  ties: ReadonlyMap<string, readonly ParentMapping[]>,
  seen: ReadonlySet<string> = new Set(),
): boolean {
  if (seen.has(from)) return false;
  const next = ties.get(from) ?? [];
  const passed = new Set([...seen, from]);
  return next.some((tie) => tie.table === to || reaches(tie.table, to, ties, passed));
}

/** `batches` → `batch`, `batch_links` → `batch_link`, `queries` → `query`. */
function singularOf(table: string): string {
  const name = table.toLowerCase();
  if (/ies$/.test(name)) return name.replace(/ies$/, 'y');
  if (/(?:ch|sh|s|x|z)es$/.test(name)) return name.replace(/es$/, '');
  return name.replace(/s$/, '');
}

/**
 * A table can't be below itself: the tie known by its name alone gives way.
 *
 * @throws ConfigError when each tie of the ring is a foreign key, or was said
 */
function breakCycles(database: string, found: Parents, specs: TableSpecs): Parents {
  const parents = new Map(found);
  for (const table of parents.keys()) {
    const seen = new Set<string>([table]);
    for (let at = parents.get(table)?.table; at !== undefined; at = parents.get(at)?.table) {
      if (seen.has(at)) {
        const path = [...seen];
        const ring = path.slice(path.indexOf(at));
        const weakest = ring.find(
          (name) => parents.get(name)?.foreignKey === false && specs[name]?.parent === undefined,
        );
        if (weakest === undefined) {
          throw new ConfigError(
            'input stores',
            `the tables of ${database} are above each other in a ring: ${[...ring, at].join(' → ')}`,
            '`parent: null` for the one that is at the top',
          );
        }
        parents.set(weakest, null);
        break;
      }
      seen.add(at);
    }
  }
  return parents;
}

/** Our word for what a status column holds; itself, when nothing is said of it. */
export const meaningOf = (mapping: TableMapping, word: string): string =>
  Object.hasOwn(mapping.words, word) ? (mapping.words[word] ?? word) : word;

/** The app's word for one of ours. */
export const wordFor = (mapping: TableMapping, status: StatusWord): string =>
  Object.entries(mapping.words).find(([, meaning]) => meaning === status)?.[0] ?? status;

/** The mapping, as a person may check it: one line a table. */
export function describeMapping(mapping: StoreMapping): readonly string[] {
  return mapping.map((table) => {
    const { parent, own, task, error, times, resend } = table;
    const words = Object.entries(table.words).map(([word, meaning]) => `${word} = ${meaning}`);
    const parts = [
      `id ${table.id}`,
      `status ${table.status}${words.length > 0 ? ` (${words.join(', ')})` : ''}`,
      parent === null ? 'at the top' : describeTie(parent),
      ...(own === null ? [] : [describeTie({ table: 'another of them', ...own })]),
      `times ${times.join(', ') || 'none'}`,
      `task ${task ?? 'none'}`,
      `error ${error ?? 'none'}`,
      ...(resend === null ? [] : [`sent again as ${resend.task}(${resend.args.join(', ')})`]),
    ];
    return `${table.table}: ${parts.join('; ')}`;
  });
}

const describeTie = ({ table, column, foreignKey }: ParentMapping): string =>
  `below ${table} by ${column}${foreignKey ? '' : ' (no foreign key)'}`;

function depthOf(table: string, parents: Parents): number {
  const parent = parents.get(table);
  return parent ? 1 + depthOf(parent.table, parents) : 0;
}

/** `completed_links` counts the completed rows of the nearest table below that ends in `links`. */
function findCounters(
  table: StoreTable,
  parents: Parents,
  job: readonly StoreTable[],
): CounterMapping[] {
  const below = job
    .filter((other) => isBelow(other.name, table.name, parents))
    .toSorted((a, b) => depthOf(a.name, parents) - depthOf(b.name, parents));
  return table.columns.flatMap((column) => {
    const match = /^([a-z]+)_(.+)$/.exec(column.name.toLowerCase());
    const counts = match?.[1] ?? '';
    const counted = below.find(({ name }) => `_${name.toLowerCase()}`.endsWith(`_${match?.[2]}`));
    if (!counted || !isCountable(counts)) return [];
    return [{ column: column.name, table: counted.name, counts }];
  });
}

const isCountable = (word: string): word is CounterMapping['counts'] =>
  word === 'total' || statusWords.some((status) => status === word);

function isBelow(table: string, above: string, parents: Parents): boolean {
  const parent = parents.get(table)?.table;
  return parent !== undefined && (parent === above || isBelow(parent, above, parents));
}

function listNames(names: readonly string[]): string {
  if (names.length === 0) return 'none at all';
  const shown = names.slice(0, 20).join(', ');
  return names.length > 20 ? `${shown} and ${names.length - 20} more` : shown;
}
