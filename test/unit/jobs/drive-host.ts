import { spawnSync } from 'node:child_process';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import type { AppDatabase } from './app-database.ts';

const driver = join(import.meta.dirname, 'drive_host.py');

/** The result of a function of the host program. */
export interface Said {
  readonly value?: unknown;
  readonly error?: string;
  readonly content?: string;
}

/** Runs a function of the host program here, with a state folder next to the database. */
export function drive(
  database: AppDatabase,
  module: string,
  call: string,
  args: object,
  /** SQL to run after a step has kept its rows and before it takes the lock. */
  between?: string,
): Said {
  const state = join(database.folder, 'state');
  const result = spawnSync('python3', ['-I', driver], {
    input: JSON.stringify({
      module,
      call,
      // The databases of tests belong to whoever runs them.
      args: { ...args, user: userInfo().username },
      state,
      ...(between === undefined ? {} : { between: { database: database.file, sql: between } }),
    }),
    encoding: 'utf8',
    maxBuffer: 1024 ** 3,
  });
  if (result.status !== 0) throw new Error(result.stderr);
  return JSON.parse(result.stdout) as Said;
}
