import { describe, expect, test } from 'vitest';
import { parseStores } from '../../../src/config/stores-input.ts';
import { ConfigError } from '../../../src/model/errors.ts';

const whole = `
- database: /srv/app/jobs.db
  tables:
    work:
      id: key
      status: state
      started: begun
      completed: null
      words: { running: processing, broken: failed }
      parent: { table: batches, column: batch }
      resend: { task: app.tasks.work, args: [key], queue: batch }
    orders: { ignore: true }
- database: postgresql://app@127.0.0.1:5432/jobs
`;

function errorOf(text: string): ConfigError {
  try {
    parseStores(text);
  } catch (error) {
    if (error instanceof ConfigError) return error;
    throw error;
  }
  throw new Error('no error came');
}

describe('stores', () => {
  test('an empty input is no store', () => {
    expect(parseStores('')).toEqual([]);
    expect(parseStores(' \n')).toEqual([]);
  });

  test('are read with their tables and lines', () => {
    const [first, second] = parseStores(whole);
    expect(first).toMatchObject({
      database: '/srv/app/jobs.db',
      where: 'input stores, line 2',
      tables: {
        work: {
          id: 'key',
          completed: null,
          words: { running: 'processing', broken: 'failed' },
          parent: { table: 'batches', column: 'batch' },
          resend: { task: 'app.tasks.work', args: ['key'], queue: 'batch' },
        },
        orders: { ignore: true },
      },
    });
    expect(second).toMatchObject({
      database: 'postgresql://app@127.0.0.1:5432/jobs',
      tables: {},
      where: 'input stores, line 13',
    });
  });

  test.each([
    ['- database: [', 1, 'invalid YAML'],
    ['database: /srv/jobs.db', 1, 'expected array'],
    ['- database: jobs.db', 1, 'an absolute path'],
    ['- database: /srv/../etc/shadow', 1, 'an absolute path'],
    ['- database: postgresql://app:secret@127.0.0.1/jobs', 1, 'without a password'],
    ['- database: /srv/jobs.db\n  table: {}', 1, 'table'],
    ['- database: /srv/jobs.db\n  tables:\n    jobs:\n      statis: x', 4, 'statis'],
    ['- database: /srv/jobs.db\n  tables:\n    jobs:\n      words: { a: b }', 4, 'words.a'],
    [
      '- database: /srv/jobs.db\n  tables:\n    jobs:\n      resend:\n        task: "os.system(1)"',
      5,
      'the name of a task',
    ],
    ['- database: /srv/a.db\n  database: /srv/b.db', 2, 'unique'],
  ])('%j: the line, and what was expected', (text, line, problem) => {
    const error = errorOf(text);
    expect(error.where).toBe(`input stores, line ${line}`);
    expect(`${error.message} ${error.expected}`).toContain(problem);
  });
});
