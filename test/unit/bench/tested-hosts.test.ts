import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import {
  newest,
  type Result,
  renderDocument,
  renderTable,
} from '../../../bench/tested-hosts-table.ts';
import { hostEdition, SUITES } from '../../../sandbox/edition.ts';
import { type ActionName, actions } from '../../../src/config/action-inputs.ts';
import { ROWS, type Row, rowName } from '../../host/lib/tested-hosts/rows.ts';

const EXAMPLES = join(import.meta.dirname, '../../../examples');

const result = (row: Row | undefined, more: Partial<Result> = {}): Result => {
  if (row === undefined) throw new Error('no such row');
  return {
    ...row,
    versions: {
      debian: '13.8',
      systemd: '257',
      python: '3.13.5',
      celery: '5.6.3',
      broker: 'Redis 8',
    },
    steps: { provision: 'said', deploy: 'ok' },
    commit: 'abc1234',
    at: '2026-11-28T22:00:00.000Z',
    seconds: 100,
    ...more,
  };
};

test('the hosts cover what is promised, each once', () => {
  expect(ROWS.length).toBeGreaterThanOrEqual(12);
  expect(new Set(ROWS.map(rowName)).size).toBe(ROWS.length);
  for (const suite of SUITES) {
    const there = ROWS.filter((row) => row.suite === suite);
    expect(new Set(there.map(({ broker }) => broker))).toEqual(new Set(['redis', 'rabbitmq']));
    expect(new Set(there.map(({ login }) => login))).toEqual(new Set(['root', 'deploy']));
    expect(new Set(there.map(({ installed }) => installed))).toEqual(
      new Set(['system', 'venv', 'uv']),
    );
  }
  expect(new Set(ROWS.map(({ celery }) => celery))).toEqual(
    new Set(['4.4', '5.2', '5.5', '5.6', 'system']),
  );
  expect(new Set(ROWS.map(({ app }) => app))).toEqual(
    new Set(['slideshow', 'django', 'fastapi', 'flask']),
  );
});

test('the image of each host has its environment', () => {
  for (const { suite, celery, installed, app } of ROWS) {
    if (installed === 'system') continue;
    const { complete, files } = hostEdition(suite);
    const name = app === 'slideshow' ? `celery-${celery}` : app;
    expect(`${complete?.args.join(' ')} `).toContain(`${installed} ${name} `);
    expect(files.every((file) => existsSync(file))).toBe(true);
  }
});

test('the newest result of a row counts, and a step after a failure was not run', () => {
  const [one, two] = ROWS;
  const why = { step: 'no-op', why: 'something was changed' } as const;
  const results = newest([result(two, { failed: why }), result(one, { failed: why }), result(one)]);
  expect(results.map(({ failed }) => failed?.step)).toEqual([undefined, 'no-op']);
  const [, , , last = ''] = renderTable(results).split('\n');
  expect(last).toContain('| ok | **failed** | not run |');
  expect(renderDocument(results)).toContain('1 of 2 hosts passed every step');
});

test.each(['django', 'fastapi', 'flask'])('%s: its workflow gives inputs that exist', (name) => {
  const file = join(EXAMPLES, name, '.github/workflows/deploy.yml');
  const { jobs } = parse(readFileSync(file, 'utf8'));
  const steps: readonly { uses: string; with: Record<string, unknown> }[] = jobs.deploy.steps;
  const ours = steps.flatMap(({ uses, with: given }) => {
    const [, action] = /^owner\/celeriac\/actions\/([a-z-]+)@/.exec(uses) ?? [];
    return action === undefined ? [] : [{ action: action as ActionName, given }];
  });
  expect(ours.map(({ action }) => action)).toEqual(
    expect.arrayContaining(['deploy-worker', 'verify']),
  );
  for (const { action, given } of ours) {
    for (const input of Object.keys(given)) expect(actions[action]).toHaveProperty([input]);
  }
});
