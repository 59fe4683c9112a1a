import { expect, test } from 'vitest';
import { actions } from '../../../src/config/action-inputs.ts';
import { cleanUpDefaults, cleanUpDesired } from '../../../src/config/cleanup-desired.ts';
import { deployWorkerDesired } from '../../../src/config/deploy-worker-desired.ts';
import { readInputs } from '../../../src/config/read-inputs.ts';
import type { Agent } from '../../../src/ports/agent.ts';
import { cleanUpJobs } from '../../../src/use-case/clean-up-jobs.ts';
import { RecordedRun } from './recorded-run.ts';

const host = { host: 'vps', 'ssh-key': 'a key', 'known-hosts': 'vps ssh-ed25519 AAAA' };

/** The values of an action's inputs, as its texts give them. */
function valuesOf<Name extends keyof typeof actions>(name: Name, texts: Record<string, string>) {
  const given = new Map(Object.entries({ ...host, ...texts }));
  return readInputs(actions[name], (input) => given.get(input) ?? '', new Map());
}

test('`database: none`: only the past is asked for, nothing changes, and the reason is given', async () => {
  const asked: object[] = [];
  const agent = new Proxy({} as Agent, {
    get: (_, name) => {
      if (name === 'look') return async (query: object) => void asked.push(query);
      throw new Error(`the host was asked to ${String(name)}`);
    },
  });
  const run = new RecordedRun();
  const done = await cleanUpJobs(run, agent, { ...cleanUpDefaults, noDatabase: true });
  expect(done).toEqual({ outcome: null, found: 0, repaired: 0, skipped: [] });
  // A run adds what the host did alone.
  expect(asked).toEqual([{}]);
  expect(run.log).toEqual(
    expect.arrayContaining(['found=0', 'repaired=0', 'changed=false', 'transaction=']),
  );
  expect(run.results[0]?.plan?.findings.map(({ message }) => message)).toEqual([
    'jobs: skipped: `database: none`, this app has no tables of jobs',
  ]);
});

test('every action takes it', () => {
  const none = { database: 'none' };
  expect(valuesOf('verify', none).database).toEqual({ path: null, none: true });
  const cleanup = cleanUpDesired(valuesOf('cleanup', none), 'someone');
  expect(cleanup).toMatchObject({ database: null, noDatabase: true });
  const worker = deployWorkerDesired(
    valuesOf('deploy-worker', { ...none, 'orphaned-jobs': 'fail' }),
    '',
  );
  expect(worker.orphanedJobs).toBeNull();
  // Otherwise they are searched for.
  expect(cleanUpDesired(valuesOf('cleanup', {}), 'someone').noDatabase).toBe(false);
});
