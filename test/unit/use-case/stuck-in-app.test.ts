import { expect, it } from 'vitest';
import { actions } from '../../../src/config/action-inputs.ts';
import { readInputs } from '../../../src/config/read-inputs.ts';
import type { StuckRow } from '../../../src/jobs/judge/staleness.ts';
import { HostError } from '../../../src/model/errors.ts';
import { epochSeconds } from '../../../src/model/units.ts';
import type { Agent } from '../../../src/ports/agent.ts';
import { oldestSince, oldestStuckJob } from '../../../src/use-case/stuck-in-app.ts';

const since = epochSeconds(1_768_734_000);
const inputsFor = (database: string) => {
  const given: Record<string, string> = {
    host: 'vps',
    'known-hosts': 'vps ssh-ed25519 A',
    database,
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
    why: '`database` is not given',
  });
  expect(await oldestStuckJob(broken, inputsFor('none'), since)).toEqual({
    why: 'this app has no tables of jobs (`database: none`)',
  });
  expect(await oldestStuckJob(broken, inputsFor('/srv/app/jobs.db'), since)).toEqual({
    why: 'the jobs could not be read (the database is locked)',
  });
});
