import type { StoreTable } from '../../model/facts/store.ts';
import type { CounterMapping } from '../../model/job-store.ts';
import { singularOf, snakeOf } from './names.ts';
import { depthOf, isBelow, type Parents } from './ties.ts';

/** What a word in the name of a counter counts; `processed` and `finished` may be either end. */
const countedBy: Readonly<Record<string, CounterMapping['counts']>> = {
  total: 'total',
  pending: 'pending',
  processing: 'processing',
  running: 'processing',
  completed: 'completed',
  complete: 'completed',
  succeeded: 'completed',
  successful: 'completed',
  success: 'completed',
  done: 'completed',
  partial: 'partial',
  failed: 'failed',
  cancelled: 'cancelled',
  canceled: 'cancelled',
};

/**
 * The columns that count rows of tables below: `completed_links` and `links_completed` those of the
 * nearest table whose name ends in `links`, `failed_count` those of the only table directly below.
 */
export function findCounters(
  table: StoreTable,
  parents: Parents,
  job: readonly StoreTable[],
): readonly CounterMapping[] {
  const below = job
    .filter((other) => isBelow(other.name, table.name, parents))
    .toSorted((a, b) => depthOf(a.name, parents) - depthOf(b.name, parents));
  const direct = below.filter(({ name }) => parents.get(name)?.table === table.name);
  return table.columns.filter(mayCount).flatMap((column): CounterMapping[] => {
    for (const { noun, word } of readings(snakeOf(column.name))) {
      const counts = Object.hasOwn(countedBy, word) ? countedBy[word] : undefined;
      if (counts === undefined) continue;
      const counted =
        noun === 'count'
          ? direct.length === 1 && direct[0]
          : below.find(({ name }) => `_${singularOf(name)}`.endsWith(`_${singularOf(noun)}`));
      if (counted) return [{ column: column.name, table: counted.name, counts }];
    }
    return [];
  });
}

/** Its first or its last word says what it counts. */
function readings(name: string): readonly { readonly noun: string; readonly word: string }[] {
  const plain = name.replace(/^(?:num|number_of)_/, 'count_').replace(/^count_(.+_.+)$/, '$1');
  const first = /^([a-z]+)_(.+)$/.exec(plain);
  const last = /^(.+)_([a-z]+)$/.exec(plain);
  return [
    { word: first?.[1] ?? '', noun: (first?.[2] ?? '').replace(/(.)_count$/, '$1') },
    { word: last?.[2] ?? '', noun: last?.[1] ?? '' },
  ];
}

const mayCount = ({ type }: StoreTable['columns'][number]): boolean =>
  !/char|text|clob|json|bool|date|time|blob|uuid/i.test(type);
