import { userInfo } from 'node:os';
import { join } from 'node:path';
import { ForkServer } from '../../lib/fork-server.ts';
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
  return ForkServer.of(driver).ask({
    module,
    call,
    // The databases of tests belong to whoever runs them.
    args: { ...args, user: userInfo().username },
    state,
    ...(between === undefined ? {} : { between: { database: database.file, sql: between } }),
  }) as Said;
}
