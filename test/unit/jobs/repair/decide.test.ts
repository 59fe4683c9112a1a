import { describe, expect, it } from 'vitest';
import type { CleanUpAction } from '../../../../src/config/cleanup-desired.ts';
import type { StuckRow } from '../../../../src/jobs/judge/staleness.ts';
import {
  actionNames,
  fateTable,
  type Verb,
  verbFor,
  verbs,
} from '../../../../src/jobs/repair/decide.ts';
import type { Deciding } from '../../../../src/jobs/repair/fate.ts';
import { growForest, type JobRow } from '../../../../src/jobs/tables/job-forest.ts';
import type { TableMapping } from '../../../../src/model/job-store.ts';
import type { StoreRow } from '../../../../src/model/store-row.ts';
import { epochSeconds } from '../../../../src/model/units.ts';

const table = (name: string, more: Partial<TableMapping>): TableMapping => ({
  table: name,
  id: 'id',
  status: 'status',
  words: {},
  used: [],
  partial: null,
  spelled: {},
  labels: null,
  resend: null,
  parent: null,
  own: null,
  created: null,
  started: null,
  completed: null,
  updated: null,
  error: null,
  task: null,
  times: [],
  counters: [],
  fits: {},
  bystanders: [],
  ...more,
});

/** Jobs, the batches that mirror them, and the links of a batch; comments name batches. */
const mapping = [
  table('jobs', {}),
  table('batches', {
    parent: { table: 'jobs', column: 'job_id', foreignKey: false },
    counters: [{ column: 'total_links', table: 'links', counts: 'total' }],
    bystanders: [
      {
        table: 'comments',
        column: 'batch_id',
        to: 'id',
        foreignKey: false,
        status: 'status',
        times: [],
      },
    ],
  }),
  table('links', { parent: { table: 'batches', column: 'batch_id', foreignKey: true } }),
];

interface Case {
  readonly jobs?: readonly StoreRow[];
  readonly batches?: readonly StoreRow[];
  readonly links?: readonly StoreRow[];
  readonly comments?: readonly StoreRow[];
  /** `table id`. */
  readonly found: string;
  readonly reason?: StuckRow['reason'];
  readonly resets?: Readonly<Record<string, number>>;
  readonly deleteCompleted?: boolean;
  /** `table id`. */
  readonly ageless?: string;
}

function decideBy(action: CleanUpAction, given: Case): Verb {
  const rows: Record<string, readonly StoreRow[]> = { ...(given as object) };
  const forest = growForest(mapping, (name) => rows[name] ?? []);
  const nameOf = (row: JobRow): string => `${row.mapping.table} ${row.id}`;
  const row = forest.rows.find((each) => nameOf(each) === given.found);
  if (row === undefined) throw new Error(`there is no ${given.found}`);
  const found: StuckRow = { row, reason: given.reason ?? 'stuck', lastSign: null };
  const deciding: Deciding = {
    rules: {
      action,
      now: epochSeconds(1000),
      statuses: ['processing'],
      runUrl: null,
      evidence: null,
      resets: given.resets ?? {},
      maxResets: 3,
      deleteCompleted: given.deleteCompleted ?? false,
      newTaskId: () => 'task',
    },
    forest,
    fates: new Map(),
    wanted: new Map([[row, found]]),
    left: [],
    spared: new Set(),
    findings: [],
    ageless: new Set(forest.rows.filter((each) => nameOf(each) === given.ageless)),
    endedOrphans: new Map(),
    unfinished: new Map(),
  };
  return verbFor(found, deciding);
}

const job = (status: string): StoreRow => ({ id: 'j', status });
const batch = (status: string, more: StoreRow = {}): StoreRow => ({
  id: 'b',
  status,
  job_id: null,
  total_links: null,
  ...more,
});
const link = (id: string, status: string, more: StoreRow = {}): StoreRow => ({
  id,
  status,
  batch_id: 'b',
  ...more,
});

describe('the fate of a row', () => {
  it.each<[string, Case, readonly [Verb, Verb, Verb, Verb]]>([
    [
      'two rows with one id below it',
      {
        found: 'batches b',
        batches: [batch('processing')],
        links: [link('1', 'failed'), link('1', 'failed')],
      },
      ['skip', 'skip', 'skip', 'skip'],
    ],
    [
      'all links ended, a comment pending',
      {
        found: 'batches b',
        batches: [batch('processing')],
        links: [link('1', 'completed')],
        comments: [{ batch_id: 'b', status: 'pending' }],
      },
      ['skip', 'skip', 'skip', 'skip'],
    ],
    [
      'its mirror is completed',
      {
        found: 'batches b',
        jobs: [job('completed')],
        batches: [batch('processing', { job_id: 'j' })],
        links: [link('1', 'pending')],
      },
      ['copy', 'copy', 'copy', 'copy'],
    ],
    [
      'its mirror has failed',
      {
        found: 'batches b',
        jobs: [job('failed')],
        batches: [batch('processing', { job_id: 'j' })],
        links: [link('1', 'pending')],
      },
      ['copy', 'copy', 'delete', 'copy'],
    ],
    [
      'all links ended',
      {
        found: 'batches b',
        batches: [batch('processing', { total_links: 2 })],
        links: [link('1', 'completed'), link('2', 'failed')],
      },
      ['finalise', 'finalise', 'finalise', 'finalise'],
    ],
    [
      'all links ended, and one is still to come',
      {
        found: 'batches b',
        batches: [batch('processing', { total_links: 3 })],
        links: [link('1', 'completed'), link('2', 'failed')],
      },
      ['fail', 'reset', 'delete', 'leave'],
    ],
    [
      'an orphan that has ended',
      { found: 'links 1', reason: 'orphan', links: [link('1', 'failed')] },
      ['count', 'count', 'delete', 'leave'],
    ],
    [
      'an orphan that is unfinished',
      { found: 'links 1', reason: 'orphan', links: [link('1', 'processing')] },
      ['fail', 'fail', 'delete', 'leave'],
    ],
    [
      'named, ended, and nothing unfinished below',
      {
        found: 'batches b',
        reason: 'named',
        batches: [batch('completed')],
        links: [link('1', 'completed')],
      },
      ['warn', 'warn', 'warn', 'leave'],
    ],
    [
      'named, ended, and a link unfinished',
      {
        found: 'batches b',
        reason: 'named',
        batches: [batch('completed')],
        links: [link('1', 'processing')],
      },
      ['fail', 'fail', 'delete', 'leave'],
    ],
    [
      'named, and all links ended',
      {
        found: 'batches b',
        reason: 'named',
        batches: [batch('processing')],
        links: [link('1', 'completed')],
      },
      ['finalise', 'finalise', 'finalise', 'finalise'],
    ],
    [
      'named, with delete-completed',
      {
        found: 'batches b',
        reason: 'named',
        deleteCompleted: true,
        batches: [batch('processing')],
        links: [link('1', 'completed')],
      },
      ['finalise', 'finalise', 'delete all', 'finalise'],
    ],
    [
      'named, failed, and nothing below it',
      {
        found: 'links 1',
        reason: 'named',
        batches: [batch('failed')],
        links: [link('1', 'failed')],
      },
      ['warn', 'warn', 'delete', 'leave'],
    ],
    [
      'an orphan that has completed',
      { found: 'links 1', reason: 'orphan', links: [link('1', 'completed')] },
      ['count', 'count', 'count', 'leave'],
    ],
    [
      'its mirror is partial',
      {
        found: 'jobs j',
        jobs: [job('processing')],
        batches: [batch('partial', { job_id: 'j' })],
        links: [link('1', 'completed'), link('2', 'failed')],
      },
      ['copy', 'copy', 'copy', 'copy'],
    ],
    [
      'all links ended, and one moved nobody knows when',
      {
        found: 'batches b',
        batches: [batch('processing')],
        links: [link('1', 'completed'), link('2', 'failed')],
        ageless: 'links 2',
      },
      ['skip', 'skip', 'skip', 'skip'],
    ],
    [
      'pending while a link is stuck',
      {
        found: 'batches b',
        reason: 'waiting',
        batches: [batch('pending')],
        links: [link('1', 'processing')],
      },
      ['wait', 'wait', 'wait', 'wait'],
    ],
    [
      'pending, and all links ended',
      {
        found: 'batches b',
        reason: 'waiting',
        batches: [batch('pending')],
        links: [link('1', 'failed')],
      },
      ['finalise', 'finalise', 'finalise', 'finalise'],
    ],
    [
      'below one that has ended',
      { found: 'links 1', batches: [batch('failed')], links: [link('1', 'processing')] },
      ['fail', 'fail', 'delete', 'leave'],
    ],
    [
      'reset three times, by a link below',
      {
        found: 'batches b',
        batches: [batch('processing')],
        links: [link('1', 'processing')],
        resets: { 'links:1': 3 },
      },
      ['fail', 'give up', 'delete', 'leave'],
    ],
    [
      'reset twice',
      { found: 'batches b', batches: [batch('processing')], resets: { 'batches:b': 2 } },
      ['fail', 'reset', 'delete', 'leave'],
    ],
  ])('%s', (_, given, expected) => {
    expect(actionNames.map((action) => decideBy(action, given))).toEqual(expected);
  });

  it('has a verb for every row and action, and an explanation of every verb', () => {
    expect(Object.values(fateTable.at(-1)?.does ?? {})).not.toContain('next');
    const used = new Set(fateTable.flatMap(({ does }) => Object.values(does)));
    used.delete('next');
    expect([...used].sort()).toEqual(Object.keys(verbs).sort());
  });
});
