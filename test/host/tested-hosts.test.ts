import { expect, test } from 'vitest';
import { SUITES } from '../../sandbox/edition.ts';
import { tryRow } from './lib/tested-hosts/row-run.ts';
import { ROWS, rowName } from './lib/tested-hosts/rows.ts';

/* One host of each Debian, with RabbitMQ. All of them: `npm run tested-hosts`. */

const rows = SUITES.map((suite) =>
  ROWS.find((row) => row.suite === suite && row.broker === 'rabbitmq'),
).filter((row) => row !== undefined);

test.each(rows.map((row) => [rowName(row), row] as const))(
  '%s',
  {
    tags: ['nightly'],
  },
  async (_, row) => {
    const { failed } = await tryRow(row, `tested-${row.suite}`);
    expect(failed).toBeUndefined();
  },
);
