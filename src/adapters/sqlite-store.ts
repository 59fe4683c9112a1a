import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { byName } from '../model/by-name.ts';
import { ConfigError } from '../model/errors.ts';
import type { RowChange } from '../model/operation/jobs.ts';
import type { Rehearsal, StoreRow } from '../model/store-row.ts';
import { type Bytes, bytes, MiB, type Seconds, seconds } from '../model/units.ts';
import type { Store } from '../ports/store.ts';
import type { RawRow } from './sqlite-copy.ts';
import { type StoreAnswers, type StoreAsk, type StoreReply, storeWord } from './sqlite-process.ts';

/** What the process that opens a foreign database may use. */
export interface StoreLimits {
  /** For each question. */
  readonly time: Seconds;
  /** Of data, besides what Node itself needs. */
  readonly memory: Bytes;
  /** How many times larger than the database its rows may be; a generated column makes any number. */
  readonly growth: number;
}

const defaultLimits: StoreLimits = { time: seconds(300), memory: bytes(384 * MiB), growth: 4 };

/** Reserved by Node before it runs anything. */
const nodeBytes = 640 * MiB;
const leastAnswer = 16 * MiB;

/** The program that serves a copy, by {@link storeWord}: this one. */
export const storeProgram = { path: process.argv[1] ?? '' };

/**
 * Opens the copy of a SQLite database, as a private file (0600 in a folder 0700) that is removed
 * when the store is disposed of, in a process of its own: the database is foreign, and reading it may
 * take any time and memory.
 *
 * @param directory where the private folder is made; the runner's own by default
 * @throws ConfigError when the content is not a SQLite database, is damaged, or exceeds the limits
 */
export async function openSqliteStore(
  database: string,
  content: Uint8Array,
  directory: string = process.env.RUNNER_TEMP || tmpdir(),
  limits: StoreLimits = defaultLimits,
): Promise<Store> {
  const folder = mkdtempSync(join(directory, 'celeriac-'));
  const store = new SqliteStore(database, folder, limits, content.length);
  try {
    const path = join(folder, 'copy.db');
    writeFileSync(path, content, { mode: 0o600, flag: 'wx' });
    const answerBytes = Math.max(leastAnswer, content.length * limits.growth);
    await store.ask({ ask: 'open', path, answerBytes });
    return store;
  } catch (error) {
    store[Symbol.dispose]();
    throw error;
  }
}

class SqliteStore implements Store {
  readonly #database: string;
  readonly #folder: string;
  readonly #limits: StoreLimits;
  readonly #child: ChildProcess;
  #stderr = '';

  constructor(database: string, folder: string, limits: StoreLimits, size: number) {
    this.#database = database;
    this.#folder = folder;
    this.#limits = limits;
    this.#child = start(folder, limits, size);
    this.#child.stderr?.on('data', (chunk: Buffer) => {
      this.#stderr = (this.#stderr + chunk.toString()).slice(-4096);
    });
  }

  async readRows(table: string, columns: readonly string[]): Promise<readonly StoreRow[]> {
    const rows = await this.ask({ ask: 'rows', table, columns });
    return rows.map((row) => byName(columns.map((name, index) => [name, row[index] ?? null])));
  }

  async sampleValues(
    table: string,
  ): Promise<Readonly<Record<string, readonly (string | number)[]>>> {
    return byName(await this.ask({ ask: 'sample', table }));
  }

  findDamage(): Promise<readonly string[]> {
    return this.ask({ ask: 'damage' });
  }

  rehearse(changes: readonly RowChange[]): Promise<Rehearsal> {
    return this.ask({ ask: 'rehearse', changes });
  }

  /** One question at a time. */
  ask<const Asked extends StoreAsk>(asked: Asked): Promise<StoreAnswers[Asked['ask']]> {
    const child = this.#child;
    const rows: RawRow[] = [];
    return new Promise((resolve, reject) => {
      const settle = (how: () => void) => {
        clearTimeout(timer);
        child.removeAllListeners('message');
        child.removeAllListeners('exit');
        child.removeAllListeners('error');
        how();
      };
      const fail = (problem: string, cause?: unknown) =>
        settle(() => {
          child.kill('SIGKILL');
          reject(this.#refuse(problem, cause));
        });
      const { time } = this.#limits;
      const timer = setTimeout(
        () =>
          fail(
            `${doing[asked.ask]} took longer than ${time} s; a trigger, view, CHECK or generated column of it may never end`,
          ),
        time * 1000,
      );
      child.on('message', (reply: StoreReply) => {
        if (reply.kind === 'piece') {
          for (const row of reply.rows) rows.push(row);
        } else if (reply.kind === 'failed') fail(reply.problem);
        else {
          const last = asked.ask === 'rows' ? [...rows, ...(reply.value as RawRow[])] : reply.value;
          settle(() => resolve(last as StoreAnswers[Asked['ask']]));
        }
      });
      child.on('exit', (code, signal) => fail(this.#explainEnd(doing[asked.ask], code, signal)));
      child.on('error', (error) => fail(`cannot start a process to read it`, error));
      if (child.connected) child.send(asked);
      else fail(this.#explainEnd(doing[asked.ask], child.exitCode, child.signalCode));
    });
  }

  #explainEnd(what: string, code: number | null, signal: string | null): string {
    if (/out of memory|bad_alloc|Fatal process OOM|mmap|ENOMEM/i.test(this.#stderr)) {
      return `${what} takes more memory than its copy should`;
    }
    const how = signal === null ? `with exit code ${code}` : `by ${signal}`;
    return `the process that reads it was ended ${how}`;
  }

  #refuse(problem: string, cause: unknown): ConfigError {
    const text = /out of memory/i.test(problem)
      ? 'it takes more memory than its copy should'
      : problem;
    return new ConfigError(
      'input database',
      `${this.#database} cannot be read as a SQLite database: ${text}`,
      'the SQLite file in which the app keeps its jobs, undamaged, and without triggers or columns that never end',
      { cause },
    );
  }

  [Symbol.dispose](): void {
    this.#child.removeAllListeners();
    this.#child.on('error', () => {});
    this.#child.kill('SIGKILL');
    // It may still have been writing.
    rmSync(this.#folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

const doing: Readonly<Record<StoreAsk['ask'], string>> = {
  open: 'opening it',
  rows: 'reading its rows',
  sample: 'reading its values',
  damage: 'its integrity check',
  rehearse: 'the rehearsal of the changes',
};

/**
 * The limits are those of Linux: data (also memory that is mapped), the size of a file, processor time
 * (also if this process is gone), no core dump. The environment holds the inputs, so it is empty.
 */
function start(folder: string, { memory, time, growth }: StoreLimits, size: number): ChildProcess {
  const data = nodeBytes + memory + 2 * size * growth;
  const file = 256 * MiB + size * growth;
  const limit = `ulimit -c 0; ulimit -d ${Math.ceil(data / 1024)}; ulimit -f ${Math.ceil(file / 512)}; ulimit -t ${Math.ceil(time * 4)}; exec "$0" "$@"`;
  const heap = Math.ceil((memory + size * growth) / MiB);
  const words = [`--max-old-space-size=${heap}`, storeProgram.path, storeWord];
  return spawn('/bin/sh', ['-c', limit, process.execPath, ...words], {
    cwd: folder,
    env: {},
    serialization: 'advanced',
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
}
