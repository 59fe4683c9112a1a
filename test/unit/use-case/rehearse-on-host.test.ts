import { describe, expect, test } from 'vitest';
import type { ConfigError } from '../../../src/model/errors.ts';
import type { RehearsalFact } from '../../../src/model/facts/store.ts';
import type { FactQuery } from '../../../src/model/facts.ts';
import type { Agent } from '../../../src/ports/agent.ts';
import { planCleanUp } from '../../../src/use-case/clean-up.ts';
import { openStoreHere } from '../../lib/store-here.ts';
import { AppDatabase, agentOf, day, desire, messagesOf, newTaskId } from '../jobs/app-database.ts';

const url = 'postgresql://app@127.0.0.1/jobs';

/** A clean-up of these jobs as if they were in PostgreSQL, which says this of the changes. */
async function planIn(
  rehearsal: RehearsalFact,
  options: {
    readonly database?: string;
    readonly stuck?: boolean;
    readonly holds?: 'everything' | 'rows';
  } = {},
) {
  const { database = url, stuck = true, holds = 'rows' } = options;
  using app = new AppDatabase();
  app.addBatch('a', { ago: stuck ? day : 1, links: [['processing', stuck ? day : 1]] });
  const tables = app.tables();
  const fact = { kind: 'postgresql', path: database, user: 'app', tables } as const;
  const inner = agentOf([fact], { [database]: app.content() }, { holds });
  const asked: NonNullable<FactQuery['rehearsal']>[] = [];
  const look = async (query: FactQuery) => {
    if (query.rehearsal) asked.push(query.rehearsal);
    return { ...(await inner.look(query as never)), rehearsal };
  };
  const agent = { ...inner, look } as unknown as Pick<Agent, 'look' | 'snapshot'>;
  const cleanUp = await planCleanUp(
    { agent, openStore: openStoreHere, newTaskId },
    desire({ database, unit: 'app.service' }),
  );
  return { cleanUp, asked };
}

const fine: RehearsalFact = { problems: [], skipped: [] };

describe('the changes of a PostgreSQL database', () => {
  test('are tried in it as they are planned', async () => {
    const { cleanUp, asked } = await planIn(fine);
    const [repair] = cleanUp.plan.operations;
    if (repair?.op !== 'repair-jobs') throw new Error(`it is ${repair?.op}`);
    const { rows, busyTimeoutSeconds } = repair;
    const who = { unit: 'app.service', user: 'app' };
    expect(asked).toEqual([{ database: url, ...who, rows, busyTimeoutSeconds }]);
  });

  test('are not made when it rejects them', async () => {
    const problems = ['jobs job-a: value too long for type character varying(40)'];
    const error = await planIn({ problems, skipped: [] }).catch((thrown: ConfigError) => thrown);
    expect((error as ConfigError).message).toBe(
      `fail failed in a rehearsal on the host for ${url}: ${problems[0]}`,
    );
  });

  test('are told of where they could not be tried', async () => {
    const skipped = [
      { table: 'jobs', id: 'job-a', group: 'jobs:job-a', why: 'is locked by another session' },
    ];
    const { cleanUp } = await planIn({ problems: [], skipped });
    expect(messagesOf(cleanUp)).toContain(
      'could not rehearse 1 row: jobs job-a is locked by another session',
    );
  });

  test('are not tried when there are none', async () => {
    expect((await planIn(fine, { stuck: false })).asked).toEqual([]);
  });
});

describe('the changes of a SQLite database', () => {
  test('are tried on the host as well', async () => {
    const wishes = { database: '/srv/app.db', holds: 'everything' } as const;
    expect((await planIn(fine, wishes)).asked).toHaveLength(1);
    await expect(planIn({ problems: ['no'], skipped: [] }, wishes)).rejects.toThrow(
      'fail failed in a rehearsal on the host for /srv/app.db: no',
    );
  });

  test('are not where it is too large to be copied', async () => {
    expect((await planIn(fine, { database: '/srv/app.db' })).asked).toEqual([]);
  });
});
