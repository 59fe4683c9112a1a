import type { CleanUpDesired } from '../../config/cleanup-desired.ts';
import type { StoreSpec } from '../../config/stores-input.ts';
import { ConfigError } from '../../model/errors.ts';
import type { StoreFact, StoreTable } from '../../model/facts/store.ts';
import type { FactArguments } from '../../model/facts.ts';
import type { Finding } from '../../model/operation.ts';
import { statusColumns } from './columns.ts';
import {
  holdJobs,
  judgeTables,
  type TableVerdict,
  tellCelerys,
  tellDoubtful,
  tellUnread,
} from './job-tables.ts';
import { orNone, proposeMapping, type StoreMapping } from './mapping.ts';

/** A database with jobs, and the meaning of its columns. */
export interface ChosenStore {
  readonly database: string;
  /** The app's user, who opens it on the host. */
  readonly user: string;
  readonly mapping: StoreMapping;
  /** One for each table with an id and a status. */
  readonly verdicts: readonly TableVerdict[];
  readonly findings: readonly Finding[];
  /** All tables of the database. */
  readonly tables: readonly StoreTable[];
  /** The same, once the values of its columns are known: some columns are told by them alone. */
  readonly withValues: (valuesOf: ValuesOf) => ChosenStore;
}

/** The tables whose values decide about the mapping. */
export const tablesToSample = ({ mapping, verdicts }: ChosenStore): readonly string[] => [
  ...new Set([
    ...verdicts.map(({ table }) => table.name),
    ...mapping.flatMap(({ bystanders }) => bystanders.map(({ table }) => table)),
  ]),
];

/** Some of the newest values of each column of a table; no columns if they are not known. */
export type ValuesOf = (table: string) => NonNullable<StoreTable['times']>;

type ReadableStore = Extract<StoreFact, { readonly kind: 'sqlite' | 'postgresql' }>;

/** The query for databases, including what is needed to recognize their tables of jobs. */
export const queryStores = (desired: CleanUpDesired): FactArguments['stores'] => ({
  unit: desired.unit,
  databases: listDatabases(desired),
  user: desired.appUser,
  statusColumns,
});

/** The databases to read; `null`: search for databases. */
function listDatabases(desired: CleanUpDesired): readonly string[] | null {
  if (desired.stores.length > 0) return desired.stores.map(({ database }) => database);
  return desired.database === null ? null : [desired.database];
}

/**
 * The given databases, otherwise those whose schemas show that they hold jobs.
 *
 * @throws ConfigError when a given database cannot be used, or none was found
 */
export function chooseStores(
  facts: readonly StoreFact[],
  desired: CleanUpDesired,
): readonly ChosenStore[] {
  const { stores, database } = desired;
  if (stores.length > 0) {
    const chosen = stores.map((spec, index) => requireStore(facts[index], spec));
    refuseTwins(chosen, stores);
    return chosen.map((fact, index) => mapStore(fact, stores[index]));
  }
  if (database !== null) {
    return [mapStore(requireStore(facts[0], { database, tables: {}, where: 'input database' }))];
  }
  return findStores(facts, desired);
}

function findStores(facts: readonly StoreFact[], { unit }: CleanUpDesired): readonly ChosenStore[] {
  const chosen = facts.filter(isReadable).filter((fact) => holdJobs(fact.tables));
  if (chosen.length > 0) return chosen.map((fact) => mapStore(fact));
  const seen = facts.map((fact) => `${fact.path} (${describeFact(fact)})`);
  throw new ConfigError(
    'input database',
    seen.length === 0
      ? `no SQLite file found below the WorkingDirectory of ${unit}`
      : `no database with jobs found below the WorkingDirectory of ${unit}, only ${seen.join(', ')}`,
    `\`database\`: the SQLite file or the postgresql:// URL with the app's jobs; ${orNone}`,
  );
}

function mapStore(fact: ReadableStore, spec?: StoreSpec): ChosenStore {
  const { path, user, tables } = fact;
  const verdicts = judgeTables(tables, spec?.tables);
  const told = [
    tellDoubtful(path, verdicts),
    tellUnread(path, tables, spec?.tables),
    tellCelerys(path, tables, spec?.tables),
  ];
  return {
    database: path,
    user,
    mapping: proposeMapping(path, tables, spec?.tables, spec?.where),
    verdicts,
    findings: told.filter((finding) => finding !== null),
    tables,
    withValues: (valuesOf) =>
      mapStore({ ...fact, tables: tables.map((table) => addValues(table, valuesOf)) }, spec),
  };
}

function addValues(table: StoreTable, valuesOf: ValuesOf): StoreTable {
  const times = valuesOf(table.name);
  return Object.keys(times).length === 0 ? table : { ...table, times };
}

const isReadable = (fact: StoreFact): fact is ReadableStore =>
  fact.kind === 'sqlite' || fact.kind === 'postgresql';

function requireStore(fact: StoreFact | undefined, spec: StoreSpec): ReadableStore {
  if (fact !== undefined && isReadable(fact)) return fact;
  const problem = fact ? describeFact(fact) : 'the host did not report it';
  throw new ConfigError(
    spec.where,
    fact?.kind === 'unreadable' ? fact.problem : `${spec.database}: ${problem}`,
    whatWouldDo(problem, spec.database),
  );
}

function whatWouldDo(problem: string, database: string): string {
  if (problem.startsWith('is damaged')) return 'an undamaged database; restore it from a backup';
  if (problem.startsWith('is locked')) return 'a database that is not locked; try again';
  return database.startsWith('/')
    ? "the path of the SQLite file with the app's jobs on the host"
    : "a PostgreSQL database that psql on the host can reach as the app's user";
}

function describeFact(fact: StoreFact): string {
  if (fact.kind === 'absent') return 'no such file';
  if (fact.kind === 'unreadable') return fact.problem.replace(`${fact.path} `, '');
  return `tables: ${fact.tables.map((table) => table.name).join(', ') || 'none'}`;
}

/** Repairing one database twice at once would corrupt the result. */
function refuseTwins(facts: readonly ReadableStore[], specs: readonly StoreSpec[]): void {
  const seen = new Map<string, StoreSpec>();
  facts.forEach((fact, index) => {
    const spec = specs[index];
    if (spec === undefined) return;
    const key = fact.kind === 'sqlite' ? fact.file : fact.path;
    const twin = seen.get(key);
    if (twin !== undefined) {
      throw new ConfigError(
        spec.where,
        `${spec.database} and ${twin.database} (${twin.where}) are the same database`,
        'each database once, with all its tables',
      );
    }
    seen.set(key, spec);
  });
}
