import { expect, test } from 'vitest';
import { actions } from '../../../src/config/action-inputs.ts';
import { deployWorkerDesired } from '../../../src/config/deploy-worker-desired.ts';
import { readInputs } from '../../../src/config/read-inputs.ts';

const needed = { host: 'vps.test', 'ssh-key': 'KEY', 'known-hosts': 'vps.test ssh-ed25519 AAAA' };

const settlingFor = (asked: Readonly<Record<string, string>>) => {
  const all: Readonly<Record<string, string>> = { ...needed, ...asked };
  const values = readInputs(actions['deploy-worker'], (name) => all[name] ?? '', new Map());
  return deployWorkerDesired(values, '', 'a run').orphanedJobs;
};

test('jobs are left unless it is asked for', () => {
  expect(settlingFor({})).toBeNull();
});

test('it is a clean-up without a threshold of its own and without a second look', () => {
  expect(
    settlingFor({
      'orphaned-jobs': 'reset',
      stores: '- database: /srv/a.db',
      timezone: 'Europe/Berlin',
      'max-resets': '2',
      'keep-backups': '7',
      'busy-timeout': '3s',
      'snapshot-limit': '1M',
      unit: 'other-worker',
    }),
  ).toMatchObject({
    action: 'reset',
    unit: 'other-worker.service',
    database: null,
    stores: [{ database: '/srv/a.db' }],
    timeZone: 'Europe/Berlin',
    maxResets: 2,
    keepBackups: 7,
    busyTimeoutSeconds: 3,
    snapshotLimitBytes: 1024 ** 2,
    evidence: 'broker',
    statuses: ['processing'],
    orphans: false,
    ids: [],
    confirmAfterSeconds: 0,
    runUrl: 'a run',
  });
});
