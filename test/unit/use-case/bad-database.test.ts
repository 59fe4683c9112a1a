import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  existsSync,
  openSync,
  readdirSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openAgent } from '../../../src/adapters/agent/open-agent.ts';
import { LocalConnection } from '../../../src/adapters/local-connection.ts';
import type { CleanUpDesired } from '../../../src/config/cleanup-desired.ts';
import { hostProgram } from '../../../src/generated/host-program.ts';
import { ConfigError, HostError } from '../../../src/model/errors.ts';
import { bytes } from '../../../src/model/units.ts';
import type { Agent } from '../../../src/ports/agent.ts';
import { planCleanUp } from '../../../src/use-case/clean-up.ts';
import { openStoreHere } from '../../lib/store-here.ts';
import { AppDatabase, day, desire, newTaskId } from '../jobs/app-database.ts';

/* Databases that can't be read, and paths that are more than paths, by the real agent. */

let agent: Agent;
let app: AppDatabase;

beforeAll(async () => {
  const connect = async () => new LocalConnection('root');
  agent = await openAgent({ program: hostProgram, connect }, () => {});
  app = new AppDatabase();
  for (let each = 0; each < 300; each += 1) {
    app.addBatch(String(each), { ago: day, links: [['processing', day]] });
  }
});

afterAll(async () => {
  await agent?.close();
  app?.[Symbol.dispose]();
});

/** What a clean-up of this database is refused with; it leaves the folder as it was. */
async function refusal(
  database: string,
  wishes: Partial<CleanUpDesired> = {},
): Promise<ConfigError | HostError> {
  const list = () =>
    readdirSync(app.folder).map((name) => [name, statSync(join(app.folder, name)).mtimeMs]);
  const before = list();
  const error = await planCleanUp(
    { agent, openStore: openStoreHere, newTaskId },
    desire({ database, appUser: userInfo().username, ...wishes }),
  ).catch((thrown: unknown) => thrown);
  expect(list()).toEqual(before);
  if (error instanceof ConfigError || error instanceof HostError) return error;
  throw error;
}

const makers: Readonly<Record<string, (path: string) => void>> = {
  missing: () => {},
  foreign: (path) => writeFileSync(path, randomBytes(100_000)),
  corrupt: (path) => {
    writeFileSync(path, app.content());
    const file = openSync(path, 'r+');
    writeSync(file, randomBytes(6 * 4096), 0, 6 * 4096, 2 * 4096);
    closeSync(file);
  },
  statusless: (path) => {
    const script = 'import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute(sys.argv[2])';
    execFileSync('python3', ['-c', script, path, 'CREATE TABLE notes (id TEXT, body TEXT)']);
  },
};

test.each([
  ['missing', /no such file/],
  ['foreign', /not a SQLite database/],
  ['corrupt', /damaged|malformed/],
  ['statusless', /no table with both an id and a status column; its tables: notes/],
])('a %s database is one clear error, and nothing is written', async (kind, expected) => {
  const path = join(app.folder, `${kind}.db`);
  makers[kind]?.(path);
  const error = await refusal(path);
  expect(error.message).toMatch(expected);
  expect(error.message).not.toContain('Traceback');
});

test.each([`it's "quoted" $(touch owned).db`, 'a\nb.db', '%n;reboot', 'file:x?mode=memory'])(
  'a path like %j is only a path',
  async (name) => {
    const error = await refusal(join(app.folder, name));
    expect(error.message).toContain('no such file');
    expect(existsSync('owned')).toBe(false);
  },
);

test('a database above the limit is not copied', async () => {
  const error = await refusal(app.file, { snapshotLimitBytes: bytes(8192) });
  expect(error.message).toMatch(/more than 8192 bytes \(snapshot-limit\): 300 jobs, 300 batches/);
});
