import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { parseFleetFile } from '../../../src/config/fleet-file.ts';
import { locateError } from '../../../src/config/read-inputs.ts';
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
      where: 'input stores, line 2, column 3',
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
      where: 'input stores, line 13, column 3',
    });
  });

  test.each([
    ['- database: [', '1, column 14', 'invalid YAML'],
    ['database: /srv/jobs.db', '1, column 1', 'expected array'],
    ['- database: jobs.db', '1, column 13', 'an absolute path'],
    ['- database: /srv/../etc/shadow', '1, column 13', 'an absolute path'],
    ['- database: postgresql://app:secret@127.0.0.1/jobs', '1, column 13', 'without a password'],
    ['- database: /srv/jobs.db\n  table: {}', '2, column 3', 'table'],
    ['- database: /srv/jobs.db\n  tables:\n    jobs:\n      statis: x', '4, column 7', 'statis'],
    [
      '- database: /srv/jobs.db\n  tables:\n    jobs:\n      words: { a: b }',
      '4, column 19',
      'words.*',
    ],
    [
      '- database: /srv/jobs.db\n  tables:\n    jobs:\n      resend:\n        task: "os.system(1)"',
      '5, column 15',
      'the name of a task',
    ],
    ['- database: /srv/a.db\n  database: /srv/b.db', '2, column 3', 'unique'],
  ])('%j: the place, and what was expected', (text, place, problem) => {
    const error = errorOf(text);
    expect(error.where).toBe(`input stores, line ${place}`);
    expect(`${error.message} ${error.expected}`).toContain(problem);
  });
});

/** Every level names the one below it nine times. */
const bomb = [
  '- database: /srv/a.db',
  '  tables:',
  '    a: &a { words: { x: failed } }',
  ...'bcdefghi'.split('').map((name, at) => {
    const below = `*${'abcdefgh'[at]}`;
    return `    ${name}: &${name} [${Array(9).fill(below).join(', ')}]`;
  }),
].join('\n');

describe('aliases in stores', () => {
  const warned = vi.fn();
  beforeEach(() => {
    warned.mockReset();
    vi.spyOn(process, 'emitWarning').mockImplementation(warned);
    vi.spyOn(console, 'warn').mockImplementation(warned);
  });
  afterEach(() => vi.restoreAllMocks());

  test('stand for what they name', () => {
    const [store] = parseStores(
      '- database: /srv/a.db\n  tables: { a: &a { status: state }, b: *a }',
    );
    expect(store?.tables).toEqual({ a: { status: 'state' }, b: { status: 'state' } });
  });

  test.each([
    [
      'an alias without an anchor',
      '- database: /srv/a.db\n  tables: *nope',
      '2, column 11',
      'does not name an earlier anchor',
    ],
    [
      'one before its anchor',
      '- *later\n- &later { database: /srv/a.db }',
      '1, column 3',
      'does not name an earlier anchor',
    ],
    ['an alias bomb', bomb, '11, column 44', 'aliases expand to too many values'],
    [
      'one within itself',
      '- &a { database: /srv/a.db, tables: *a }',
      '1, column 37',
      '`0.tables.database`',
    ],
    ['a list within itself', '&a [*a]', '1, column 5', 'expected object'],
    ['a mapping as a key', '- ? { a: b }\n  : c', '1, column 3', '`0.database`'],
    [
      'an unknown tag',
      '- !evil { database: /srv/a.db, tables: !worse x }',
      '1, column 47',
      'tables',
    ],
  ])('%s is an error of the input, and no warning on stderr', (_, text, place, problem) => {
    const error = errorOf(text);
    expect(error.where).toBe(`input stores, line ${place}`);
    expect(error.message).toContain(problem);
    expect(warned).not.toHaveBeenCalled();
  });
});

describe('stores in the fleet file', () => {
  const read = (text: string) => {
    const fleet = parseFleetFile('.github/fleet.yml', text, 'cleanup');
    return { fleet, text: fleet.get('stores')?.text ?? '' };
  };
  const store = { database: '/srv/a.db', tables: { jobs: { status: 'state' } } };

  test.each([
    ['a list', 'stores:\n  - database: /srv/a.db\n    tables: { jobs: { status: state } }\n'],
    [
      'a list that is not indented, with comments',
      'stores: # ours\n- database: /srv/a.db # the jobs\n  tables:\n    # one\n    jobs:\n      status: state\nhost: a\n',
    ],
    ['a flow', 'stores: [{ database: /srv/a.db, tables: { jobs: { status: state } } }]'],
    [
      'a list in a section',
      'host: a\ncleanup:\n  stores:\n    - database: /srv/a.db\n      tables:\n        jobs: { status: state }\n',
    ],
    ['text', 'stores: |\n  - database: /srv/a.db\n    tables: { jobs: { status: state } }\n'],
  ])('may be %s', (_, text) => {
    expect(parseStores(read(text).text)).toMatchObject([store]);
  });

  test.each([
    ['host: a\nstores:\n  - database: /srv/a.db\n  - database: b.db\n', '4:15'],
    ['host: a\nstores: |\n  - database: /srv/a.db\n  - database: b.db\n', '4:15'],
    ['stores: |\n\n\n  - database: /srv/a.db\n    tabels: {}\n', '5:5'],
    ['stores: |2\n    - database: /srv/a.db\n      tabels: {}\n', '3:7'],
    ['cleanup:\n  stores:\n    - database: /srv/a.db\n      tabels: {}\n', '4:7'],
    ['cleanup:\n  stores: [{ database: /srv/a.db,\n    tabels: {} }]\n', '3:5'],
    ['stores: "- { database: /srv/a.db, tabels: {} }"\n', '1:9'],
    ['cleanup:\n  stores:\n  # both\n  - database: /srv/a.db\n\n  - database: /srv/a.db\n', '6:15'],
  ])('%j: an error names the place in the file', (text, place) => {
    const { fleet, text: stores } = read(text);
    const found = locateError(errorOf(stores), () => '', fleet) as ConfigError;
    expect(found.where).toBe(`.github/fleet.yml:${place}`);
  });
});
