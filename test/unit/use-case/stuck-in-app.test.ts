import { expect, it } from 'vitest';
import { actions } from '../../../src/config/action-inputs.ts';
import { readInputs } from '../../../src/config/read-inputs.ts';
import { readVerifyDesired } from '../../../src/config/verify-desired.ts';
import type { StuckRow } from '../../../src/jobs/judge/staleness.ts';
import { HostError } from '../../../src/model/errors.ts';
import { epochSeconds } from '../../../src/model/units.ts';
import type { Agent } from '../../../src/ports/agent.ts';
import {
  oldestSince,
  oldestStuckJob,
  searchStuckRows,
} from '../../../src/use-case/stuck-in-app.ts';

const since = epochSeconds(1_768_734_000);
const inputsFor = (database: string, stores = '') => {
  const given: Record<string, string> = {
    host: 'vps',
    'known-hosts': 'vps ssh-ed25519 A',
    database,
    stores,
  };
  return readInputs(actions.verify, (name) => given[name] ?? '', new Map());
};
const broken = {
  look: async () => {
    throw new HostError('the database is locked', { step: 'look', next: '' });
  },
} as unknown as Agent;

it('the oldest stuck job of a release is one that it began, and that it left longest', () => {
  const row = (age: number | null) =>
    ({ lastSign: age === null ? null : epochSeconds(since + age) }) as StuckRow;
  const store = (takenAfter: number, ...ages: readonly (number | null)[]) => ({
    database: '/srv/app/jobs.db',
    takenAt: epochSeconds(since + takenAfter),
    stuck: ages.map(row),
    findings: [],
  });
  expect(oldestSince([store(7200, 600, 60, null, -3600), store(7100, 3000)], since)).toBe(7140);
  expect(oldestSince([store(7200, null, -3600)], since)).toBe(0);
  expect(oldestSince([], since)).toBe(0);
});

it('without a database that is named, or one that can be read, it is not known, and why', async () => {
  expect(await oldestStuckJob(broken, inputsFor(''), since)).toEqual({
    why: 'neither `database` nor `stores` is given',
  });
  expect(await oldestStuckJob(broken, inputsFor('none'), since)).toEqual({
    why: 'this app has no tables of jobs (`database: none`)',
  });
  expect(await oldestStuckJob(broken, inputsFor('/srv/app/jobs.db'), since)).toEqual({
    why: 'the jobs could not be read (the database is locked)',
  });
});

it('looks for jobs where `stores` describes them, and in no other database', async () => {
  const stores = '- {database: /srv/press/press.db, tables: {prints: {status: state}}}';
  const asked: unknown[] = [];
  const look = async (query: object) => {
    asked.push(query);
    throw new HostError('the database is locked', { step: 'look', next: '' });
  };
  const agent = { look } as unknown as Agent;
  const inputs = inputsFor('', stores);
  await expect(searchStuckRows(agent, inputs, null)).rejects.toThrow('the database is locked');
  expect(await oldestStuckJob(agent, inputs, since)).toEqual({
    why: 'the jobs could not be read (the database is locked)',
  });
  const query = { stores: expect.objectContaining({ databases: ['/srv/press/press.db'] }) };
  expect(asked).toEqual([query, query]);
  expect(readVerifyDesired(inputs).databases).toEqual(['/srv/press/press.db']);
});

it('refuses `stores` beside `database`', () => {
  const inputs = inputsFor('/srv/app/jobs.db', '- {database: /srv/press/press.db}');
  expect(() => readVerifyDesired(inputs)).toThrow('`stores` and `database` cannot be combined');
});
