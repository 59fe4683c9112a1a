import { existsSync } from 'node:fs';
import { expect, test } from 'vitest';
import {
  newest,
  type Result,
  renderDocument,
  renderTable,
} from '../../../bench/tested-hosts-table.ts';
import { hostEdition, SUITES } from '../../../sandbox/edition.ts';
import { ROWS, type Row, rowName } from '../../host/lib/tested-hosts/rows.ts';

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
