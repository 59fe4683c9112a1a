import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { CleanUp } from '../../../src/jobs/repair/clean-up-plan.ts';
import { ConfigError } from '../../../src/model/errors.ts';
import type { FactQuery } from '../../../src/model/facts.ts';
import type { RowChange } from '../../../src/model/operation/jobs.ts';
import type { Agent } from '../../../src/ports/agent.ts';
import { planCleanUp } from '../../../src/use-case/clean-up.ts';
import { openStoreHere } from '../../lib/store-here.ts';
import { type AppDatabase, agentOf, desire, newTaskId, path } from '../jobs/app-database.ts';
import { drive } from '../jobs/drive-host.ts';
import { makeDatabase, otherTables, type Schema, schemas } from '../jobs/random-schema.ts';

/**
 * A dry run against its real run by the host's own program, on random schemas: either the dry run
 * fails, or the real run does exactly what it showed.
 */

type Rows = Record<string, Record<string, unknown>>;

const tables = ['jobs', 'job_steps', ...otherTables];

/** Table → id → row, but for what a trigger of the app writes. */
const readAll = ({ sql }: AppDatabase): Record<string, Rows> =>
  Object.fromEntries(
    tables.map((table) => {
      const rows = sql.prepare(`SELECT * FROM ${table}`).all() as Record<string, unknown>[];
      return [
        table,
        Object.fromEntries(rows.map(({ touched: _, ...row }) => [row.id, plain(row)])),
      ];
    }),
  );

/** BLOBs as text, which a copy of the row keeps as it is. */
const plain = (row: Record<string, unknown>): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(row).map(([name, value]) => [
      name,
      Buffer.isBuffer(value) ? `x'${value.toString('hex')}'` : value,
    ]),
  );

/** The rows as the plan says that they become. */
function expectedAfter(before: Record<string, Rows>, rows: readonly RowChange[]) {
  const after = structuredClone(before);
  for (const { table, id, change } of rows) {
    const own = after[table] ?? {};
    if (change.kind === 'delete') delete own[id];
    if (change.kind !== 'update') continue;
    const row = { ...own[id], ...change.set };
    own[id] = 'twice' in row ? { ...row, twice: `${row.status}${row.status}` } : row;
  }
  return after;
}

const isJson = (text: unknown): boolean => {
  try {
    JSON.parse(String(text));
    return true;
  } catch {
    return false;
  }
};

type Action = 'fail' | 'reset' | 'delete' | 'finalise';

/** The plan, rehearsed by the host's own program. */
function dryRun(database: AppDatabase, action: Action): Promise<CleanUp> {
  const inner = agentOf([database.fact()], { [path]: database.content() });
  const look = async (query: FactQuery) => {
    const answers = await inner.look(query as never);
    if (query.rehearsal === undefined) return answers;
    const args = { ...query.rehearsal, database: database.file };
    return { rehearsal: drive(database, 'facts.rehearsal', 'look', args).value };
  };
  const agent = { ...inner, look } as unknown as Pick<Agent, 'look' | 'snapshot'>;
  return planCleanUp({ agent, openStore: openStoreHere, newTaskId }, desire({ action }));
}

async function compare(
  database: AppDatabase,
  action: Action,
  error: string,
): Promise<'rejected' | 'changed' | 'nothing to do'> {
  const before = readAll(database);
  let cleanUp: CleanUp;
  try {
    cleanUp = await dryRun(database, action);
  } catch (problem) {
    expect(problem).toBeInstanceOf(ConfigError);
    expect(readAll(database)).toEqual(before);
    return 'rejected';
  }
  const repairs = cleanUp.plan.operations.filter((each) => each.op === 'repair-jobs');
  for (const repair of repairs) {
    const said = drive(database, 'operations.repair_jobs', 'do', {
      ...repair,
      database: database.file,
    });
    expect(said.error).toBeUndefined();
    const [, result] = said.value as [string, { changed: number; skipped: unknown[] }];
    const shown = cleanUp.repairs.flatMap(({ rows }) => rows);
    expect([result.changed, result.skipped]).toEqual([shown.length, []]);
    expect(readAll(database)).toEqual(expectedAfter(before, repair.rows));
    if (!/json/i.test(error)) continue;
    for (const { change } of repair.rows) {
      const text = change.kind === 'update' ? (change.set.error ?? null) : null;
      if (text !== null) expect([text, isJson(text)]).toEqual([text, true]);
    }
  }
  const after = readAll(database);
  for (const table of otherTables) expect(after[table]).toEqual(before[table]);
  return repairs.length > 0 ? 'changed' : 'nothing to do';
}

/** So that some dry run fails, and some real run changes a row. */
const simple: Schema = {
  id: 'TEXT',
  rowid: true,
  error: 'TEXT',
  status: 'TEXT',
  spelling: 'lower',
  started: 'TEXT',
  completed: 'TEXT',
  task: 'TEXT',
  trigger: 'none',
  stepKey: '',
  paymentKey: '',
  jobs: [{ status: 'processing', age: 120, task: 'name', error: null, steps: [], paid: null }],
};

const actions = ['fail', 'reset', 'delete', 'finalise'] as const;

describe.each([
  { numRuns: 15, options: { timeout: 240_000 } },
  { numRuns: 200, options: { timeout: 1_800_000, tags: ['nightly'] } },
])('on $numRuns random schemas', ({ numRuns, options }) => {
  test('a real run does what its dry run showed, or the dry run fails', options, async () => {
    const seen = { rejected: 0, changed: 0, 'nothing to do': 0 };
    await fc.assert(
      fc.asyncProperty(schemas, fc.constantFrom(...actions), async (schema, action) => {
        using database = makeDatabase(schema);
        const became = await compare(database, action, schema.error);
        seen[became] += 1;
        // Such a schema is not counted: another one is drawn.
        fc.pre(became !== 'nothing to do');
      }),
      {
        numRuns,
        maxSkipsPerRun: 20,
        examples: [
          [{ ...simple, trigger: 'refuse' }, 'fail'],
          [simple, 'fail'],
        ],
      },
    );
    const compared = seen.rejected + seen.changed;
    console.log(`compared on ${compared} schemas:`, seen);
    expect(compared).toBeGreaterThanOrEqual(numRuns);
    expect(seen.rejected).toBeGreaterThan(0);
    expect(seen.changed).toBeGreaterThan(0);
  });
});
