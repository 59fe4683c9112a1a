import type { StoreTable } from '../../model/facts.ts';
import type { SettledColumn, SettledTable, StatusWord } from '../../model/job-store.ts';
import type { SettleJobs } from '../../model/operation.ts';
import { fitFor } from '../tables/fits.ts';
import { defaultForm, spellingOf } from '../tables/instants.ts';
import { findForms, vitalColumns } from '../tables/job-forest.ts';
import { endedStatuses, isUnfinishedWord } from '../tables/job-words.ts';
import {
  meaningOf,
  type StoreMapping,
  type TableMapping,
  wordFor,
  wordsFor,
} from '../tables/mapping.ts';
import { type EndStatus, signed, tellEnds } from './fate.ts';
import { beforeWords, fillingsFor } from './fillings.ts';

/**
 * The rules by which the host settles the jobs of a database: those of a clean-up, for the one case
 * that does not depend on age.
 *
 * @param facts the tables as the host reported them, with their statuses and times
 * @param runUrl part of the error message of a parent that ends
 */
export function planSettled(
  mapping: StoreMapping,
  facts: readonly StoreTable[],
  action: SettleJobs['action'],
  runUrl: string | null,
): Pick<SettleJobs, 'tables' | 'endMessage' | 'endOfTable'> {
  return {
    tables: mapping.map((table) => settledTable(table, mapping, facts, action)),
    endMessage: `{ends}; ${signed('finalised', { runUrl })}`,
    endOfTable: tellEnds('{failed}', '{rows}', '{table}'),
  };
}

function settledTable(
  table: TableMapping,
  mapping: StoreMapping,
  facts: readonly StoreTable[],
  action: SettleJobs['action'],
): SettledTable {
  const { parent, own, counters } = table;
  const becomes = action === 'fail' ? 'failed' : 'pending';
  const [all, some] = ['completed', table.partial === null ? 'completed' : 'partial'] as const;
  const statuses = [...new Set([becomes, all, some, 'failed'] as const)];
  const below = (name: string): TableMapping =>
    mapping.find((each) => each.table === name) ?? table;
  return {
    table: table.table,
    id: table.id,
    status: table.status,
    task: table.task,
    parent,
    own,
    vital: vitalColumns(table),
    working: wordsFor(table, ['processing']),
    ended: wordsOf(table, ['completed', 'partial', 'failed', 'cancelled']),
    completed: wordsOf(table, ['completed']),
    partial: wordsOf(table, ['partial']),
    failed: wordsOf(table, ['failed']),
    endsAs: {
      all: wordFor(table, all),
      some: wordFor(table, some),
      none: wordFor(table, 'failed'),
    },
    becomes: wordFor(table, becomes),
    writes: Object.fromEntries(
      statuses.map((status) => [wordFor(table, status), writesFor(table, status, facts)]),
    ),
    expects: counters.flatMap(({ column, table, counts }) =>
      counts === 'total' ? [{ column, table }] : [],
    ),
    counters: counters.flatMap(({ column, table, counts }) =>
      counts === 'total' ? [] : [{ column, table, statuses: wordsOf(below(table), [counts]) }],
    ),
    waitsFor: table.bystanders.flatMap(({ table, column, to, status }) =>
      status === null ? [] : [{ table, column, to, status, over: overIn(table, facts) }],
    ),
  };
}

/** The app's words that mean one of these statuses, and no word that it reads as another. */
const wordsOf = (table: TableMapping, statuses: readonly StatusWord[]): readonly string[] =>
  wordsFor(table, statuses).filter((word) =>
    statuses.some((each) => each === meaningOf(table, word)),
  );

function writesFor(
  table: TableMapping,
  status: 'pending' | EndStatus,
  facts: readonly StoreTable[],
): readonly SettledColumn[] {
  const times = facts.find(({ name }) => name === table.table)?.times ?? {};
  const forms = findForms(table, (column) => times[column] ?? []);
  return fillingsFor(table, status).flatMap(({ column, fill }): SettledColumn[] => {
    const { holds, empty } = fitFor(table, column);
    switch (fill) {
      case 'status':
        return [{ column, value: wordFor(table, status) }];
      case 'nothing':
        return empty === undefined ? [] : [{ column, value: empty }];
      case 'message':
        return holds === 'text' ? [{ column, message: { before: beforeWords } }] : [];
      // The row ends at the time of the change, because no worker is left to work on it.
      default:
        return [{ column, now: spellingOf(forms.get(column) ?? defaultForm) }];
    }
  });
}

/** The statuses of a table without jobs in which its rows keep no job waiting. */
const overIn = (table: string, facts: readonly StoreTable[]): readonly (string | number)[] => [
  ...endedStatuses,
  ...(facts.find(({ name }) => name === table)?.statuses ?? []).filter(
    (status) => typeof status === 'number' || !isUnfinishedWord(status),
  ),
];
