import type { TableSpec } from '../../config/stores-input.ts';
import { byName, ownValue } from '../../model/by-name.ts';
import { ConfigError } from '../../model/errors.ts';
import type { StoreTable } from '../../model/facts/store.ts';
import type { BystanderMapping, OwnTie, ParentMapping } from '../../model/job-store.ts';
import { areAlike, columnNames, idColumn, statusColumn, typeOf } from './columns.ts';
import { singularOf, snakeOf } from './names.ts';
import { ageColumns } from './time-columns.ts';

/** The user's description of tables, by name. */
export type TableSpecs = Readonly<Record<string, TableSpec>>;

export type Parents = ReadonlyMap<string, ParentMapping | null>;

type ForeignKey = StoreTable['foreignKeys'][number];

const isSame = (one: string, other: string): boolean => one.toLowerCase() === other.toLowerCase();

/** A row names another that it repeats, follows or replaces, but is not a part of. */
const namesAnother = (column: string): boolean =>
  /(?:^|_)(?:(?:retry|rerun|retried|repeat|copy|copied|clone|cloned|duplicate|replay|restart|fork|forked)(?:_(?:of|from))?|previous|prev|next|original|origin|superseded?(?:_by)?|replaced?(?:_by|s)?|replacement|depends_on|blocked_by|triggered_by)(?:_|$)/.test(
    snakeOf(column),
  );

/**
 * References by foreign keys, otherwise by columns such as `job_id` that name one of these tables. A
 * column that a foreign key ties to something else names none.
 */
export function findTies(
  table: StoreTable,
  others: readonly StoreTable[],
  specs: TableSpecs = byName(),
): readonly ParentMapping[] {
  const keys = table.foreignKeys.flatMap((key): ParentMapping[] => {
    if (namesAnother(key.column)) return [];
    const parent = others.find((other) => isSame(other.name, key.table));
    return parent && parent !== table && isToId(key, parent, specs)
      ? [{ table: parent.name, column: key.column, foreignKey: true }]
      : [];
  });
  if (keys.length > 0) return keys;
  return table.columns.flatMap(({ name, type }): ParentMapping[] => {
    if (table.foreignKeys.some(({ column }) => isSame(column, name))) return [];
    const singular = /^(.+)_id$/.exec(snakeOf(name))?.[1];
    const parent = others.find(
      (other) => other !== table && singularOf(other.name) === singular && mayName(other),
    );
    return parent ? [{ table: parent.name, column: name, foreignKey: false }] : [];

    // `task_id` may be Celery's: then it is text, while the ids of the app's own tasks may not be.
    function mayName(other: StoreTable): boolean {
      const isTask = columnNames.task.some((task) => task === snakeOf(name));
      return !isTask || areAlike(type, typeOf(other, idColumn(other) ?? ''));
    }
  });
}

/** The column is empty when the key references the parent's primary key. */
const isToId = ({ to }: ForeignKey, parent: StoreTable, specs: TableSpecs): boolean =>
  !to || isSame(to, idColumn(parent, ownValue(specs, parent.name)) ?? 'id');

/** Whether a column such as `current_task_id` may name a row of the app's own table of tasks. */
export function mayNameAppTask(
  table: StoreTable,
  column: string,
  tables: readonly StoreTable[],
): boolean {
  if (!/^(?!celery_).*_task_(?:id|uuid)$/.test(snakeOf(column))) return false;
  return tables.some((other) => {
    const id = idColumn(other);
    const isTasks = other !== table && singularOf(other.name) === 'task';
    return isTasks && id !== null && areAlike(typeOf(table, column), typeOf(other, id));
  });
}

/** Reference to the same table: by a foreign key, otherwise by a column such as `parent_id`. */
export function findOwnTie(table: StoreTable, { parent: said, id }: TableSpec): OwnTie | null {
  if (said === null) return null;
  const ids = ['id', idColumn(table, { id })?.toLowerCase()];
  const keys = table.foreignKeys.filter(
    (key) =>
      isSame(key.table, table.name) &&
      !namesAnother(key.column) &&
      (!key.to || ids.includes(key.to.toLowerCase())),
  );
  const key = (column: string): boolean => keys.some((each) => each.column === column);
  if (said?.table === table.name) return { column: said.column, foreignKey: key(said.column) };
  const named = table.columns.find(({ name }) => {
    const match = /^parent_(?:(.+)_)?id$/.exec(snakeOf(name));
    return match && [undefined, singularOf(table.name)].includes(match[1]);
  });
  const column = keys[0]?.column ?? named?.name;
  return column === undefined ? null : { column, foreignKey: key(column) };
}

/**
 * Tables without jobs that reference rows of this table: by foreign keys, otherwise by name. Their
 * rows are never changed.
 */
export function findBystanders(
  above: StoreTable,
  tables: readonly StoreTable[],
  job: readonly StoreTable[],
  specs: TableSpecs,
  isOthers: (table: StoreTable) => boolean,
): readonly BystanderMapping[] {
  const id = idColumn(above, ownValue(specs, above.name)) ?? 'id';
  return tables.flatMap((table): BystanderMapping[] => {
    if (job.includes(table)) return findOtherKeys(table, above, id, specs);
    const spec = ownValue(specs, table.name);
    const about = {
      table: table.name,
      status: statusColumn(table, spec),
      // A table marked as `ignore` is no sign of life.
      times: spec?.ignore === true ? [] : ageColumns(table, spec),
    };
    const keys = table.foreignKeys.filter((key) => isSame(key.table, above.name));
    const tied = keys.map((key) => {
      const to = above.columns.find(({ name }) => isSame(name, key.to))?.name ?? id;
      return { ...about, column: key.column, to, foreignKey: true };
    });
    if (tied.length > 0) {
      // Of a composite key, use the column that identifies the row.
      const toId = tied.filter(({ to }) => to === id);
      return toId.length > 0 ? toId : tied;
    }
    if (isOthers(table) || spec?.ignore === true) return [];
    const named = findTies(table, job, specs).filter((tie) => tie.table === above.name);
    return named.map(({ column }) => ({ ...about, column, to: id, foreignKey: false }));
  });
}

/**
 * Jobs that repeat or follow another one, or name it by a column that is not its id: by a foreign key,
 * they keep it from being deleted. The latter may be parts of it, and show that it is alive.
 */
const findOtherKeys = (
  table: StoreTable,
  above: StoreTable,
  id: string,
  specs: TableSpecs,
): BystanderMapping[] =>
  table.foreignKeys
    .filter((key) => isSame(key.table, above.name))
    .filter((key) => ownValue(specs, table.name)?.parent?.column !== key.column)
    .filter((key) => namesAnother(key.column) || (table !== above && !isToId(key, above, specs)))
    .map((key) => ({
      table: table.name,
      column: key.column,
      to: above.columns.find(({ name }) => isSame(name, key.to))?.name ?? id,
      foreignKey: true,
      status: namesAnother(key.column) ? null : statusColumn(table, ownValue(specs, table.name)),
      times: namesAnother(key.column) ? [] : ageColumns(table, ownValue(specs, table.name)),
    }));

/**
 * The nearest parent: a link that references its batch and its job belongs to the batch.
 *
 * @throws ConfigError when there are several parents and none is below the others
 */
export function chooseParent(
  table: StoreTable,
  others: readonly StoreTable[],
  ties: ReadonlyMap<string, readonly ParentMapping[]>,
  specs: TableSpecs,
): ParentMapping | null {
  const own = ties.get(table.name) ?? [];
  const said = ownValue(specs, table.name)?.parent;
  if (said === null) return null;
  if (said !== undefined && said.table !== table.name) {
    const parent = others.find(({ name }) => isSame(name, said.table));
    const foreignKey = table.foreignKeys.some(
      (key) =>
        isSame(key.column, said.column) &&
        isSame(key.table, said.table) &&
        parent !== undefined &&
        isToId(key, parent, specs),
    );
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
      `cannot tell which table is the parent of \`${table.name}\`: ${list}`,
      `\`parent\`: { table, column }, or null`,
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

/**
 * A table cannot be its own ancestor: a reference that is only known by name is dropped.
 *
 * @throws ConfigError when every reference of the cycle is a foreign key or was specified
 */
export function breakCycles(database: string, found: Parents, specs: TableSpecs): Parents {
  const parents = new Map(found);
  for (const table of parents.keys()) {
    const seen = new Set<string>([table]);
    for (let at = parents.get(table)?.table; at !== undefined; at = parents.get(at)?.table) {
      if (seen.has(at)) {
        const path = [...seen];
        const ring = path.slice(path.indexOf(at));
        const weakest = ring.find(
          (name) =>
            parents.get(name)?.foreignKey === false && ownValue(specs, name)?.parent === undefined,
        );
        if (weakest === undefined) {
          throw new ConfigError(
            'input stores',
            `the tables of ${database} form a cycle: ${[...ring, at].join(' → ')}`,
            '`parent: null` for the topmost table',
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

/** Number of ancestor tables. */
export function depthOf(table: string, parents: Parents): number {
  const parent = parents.get(table);
  return parent ? 1 + depthOf(parent.table, parents) : 0;
}

/** Whether a table is below another, at any depth. */
export function isBelow(table: string, above: string, parents: Parents): boolean {
  const parent = parents.get(table)?.table;
  return parent !== undefined && (parent === above || isBelow(parent, above, parents));
}
