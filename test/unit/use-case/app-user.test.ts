import { describe, expect, test } from 'vitest';
import { openSqliteStore } from '../../../src/adapters/sqlite-store.ts';
import { appUserInput, readAppUser } from '../../../src/config/app-user-input.ts';
import type { CleanUpDesired } from '../../../src/config/cleanup-desired.ts';
import { planRestore } from '../../../src/jobs/repair/restore-jobs.ts';
import type { StoreFact } from '../../../src/model/facts/store.ts';
import { epochSeconds } from '../../../src/model/units.ts';
import { planCleanUp } from '../../../src/use-case/clean-up.ts';
import {
  AppDatabase,
  agentOf,
  day,
  desire,
  messagesOf,
  newTaskId,
  path,
} from '../jobs/app-database.ts';

const unit = 'shop.service';

/** A clean-up of one stuck job in a database that the host opened as this user. */
async function planAs(user: string, wishes: Partial<CleanUpDesired> = {}) {
  using database = new AppDatabase();
  database.addBatch('one', { ago: day, links: [['processing', day]] });
  const fact = { ...database.fact(), user } as StoreFact;
  const agent = agentOf([fact], { [path]: database.content() });
  const tools = { agent, openStore: openSqliteStore, newTaskId };
  return { agent, cleanUp: await planCleanUp(tools, desire({ unit, ...wishes })) };
}

describe("the app's user", () => {
  test('is asked for with the databases: of the unit, or the one that is named', async () => {
    const asked = async (appUser: string | null) =>
      (await planAs('app', { appUser })).agent.asked[0];
    expect(await asked(null)).toContain('"unit":"shop.service"');
    expect(await asked(null)).toContain('"user":null');
    expect(await asked('web')).toContain('"user":"web"');
  });

  test('who opened the database makes the backup and the changes', async () => {
    const { cleanUp } = await planAs('app');
    expect(cleanUp.plan.operations).toMatchObject([
      { op: 'backup-database', unit, user: 'app' },
      { op: 'repair-jobs', unit, user: 'app' },
    ]);
    expect(messagesOf(cleanUp)).not.toContain('root');
  });

  test.each<[string, string | null, string]>([
    ['of the unit', null, "shop.service runs as root: root works on the app's files"],
    ['that is named', 'root', "`app-user` is root: root works on the app's files"],
  ])('%s is root: the report says so once', async (_, appUser, said) => {
    const { cleanUp } = await planAs('root', { appUser });
    expect(cleanUp.plan.findings.filter(({ message }) => message === said)).toHaveLength(1);
  });

  test('restores a backup', () => {
    using database = new AppDatabase();
    const backup = { path: '/b.db', takenAt: epochSeconds(1), differences: [] };
    const plan = (user: string, appUser: string | null) =>
      planRestore(
        { ...database.fact(), user } as StoreFact,
        { kind: 'compared', ...backup },
        'latest',
        desire({ unit, appUser }),
      );
    expect(plan('app', 'app').operations).toMatchObject([{ unit, user: 'app' }]);
    expect(plan('app', null).operations).toMatchObject([{ unit, user: null }]);
    expect(plan('app', null).findings).toEqual([]);
    expect(plan('root', null).findings).toMatchObject([{ level: 'notice' }]);
  });

  test('is a name', () => {
    const accepts = (text: string) => appUserInput.schema.safeParse(text).success;
    expect(['', 'app', 'web-1', 'svc.app', '_app'].filter((name) => !accepts(name))).toEqual([]);
    expect(['0', '../app', 'a b', '-app', 'a;b', 'a'.repeat(33)].filter(accepts)).toEqual([]);
    expect([readAppUser(''), readAppUser('app')]).toEqual([null, 'app']);
  });
});
