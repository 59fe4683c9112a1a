import { execFileSync, spawn } from 'node:child_process';
import {
  constants,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const program = join(import.meta.dirname, 'fork_server.py');

type Said = { readonly answer: unknown } | { readonly failed: string };

/**
 * A Python program that answers requests, each in a process of its own. Its modules are imported
 * once, which takes longer than most requests. It ends with the process of the test file.
 */
export class ForkServer {
  static readonly #started = new Map<string, ForkServer>();

  /** Of the FIFOs, until both programs have opened them. */
  readonly #folder = mkdtempSync(join(tmpdir(), 'celeriac-test-'));
  readonly #pid: number;
  readonly #requests: number;
  readonly #answers: number;

  private constructor(driver: string) {
    const requests = join(this.#folder, 'requests');
    const answers = join(this.#folder, 'answers');
    execFileSync('mkfifo', [requests, answers]);
    // Neither waits for the other end, which may never come.
    this.#requests = openSync(requests, constants.O_RDWR);
    this.#answers = openSync(answers, constants.O_RDONLY | constants.O_NONBLOCK);
    const words = ['-I', program, driver, requests, answers];
    const child = spawn('python3', words, { stdio: ['ignore', 'ignore', 'inherit'] });
    // Then there is no process, as the first answer will find.
    child.on('error', () => {});
    child.unref();
    this.#pid = child.pid ?? 0;
  }

  /** That of a driver: a file with functions `prepare` and `answer`. See fork_server.py. */
  static of(driver: string): ForkServer {
    const started = ForkServer.#started.get(driver) ?? new ForkServer(driver);
    ForkServer.#started.set(driver, started);
    return started;
  }

  /** @throws Error with the traceback of a request that failed. */
  ask(request: object): unknown {
    writeSync(this.#requests, `${JSON.stringify(request)}\n`);
    const said = this.#hear();
    if ('failed' in said) throw new Error(said.failed);
    return said.answer;
  }

  #hear(): Said {
    try {
      return JSON.parse(this.#readLine()) as Said;
    } finally {
      rmSync(this.#folder, { recursive: true, force: true });
    }
  }

  #readLine(): string {
    const pieces: Buffer[] = [];
    const piece = Buffer.alloc(1 << 16);
    for (;;) {
      const size = this.#read(piece);
      if (size === 0) {
        if (this.#isGone()) throw new Error('the Python program has ended; see its stderr');
        Atomics.wait(clock, 0, 0, 1);
      }
      pieces.push(Buffer.from(piece.subarray(0, size)));
      // One request, one line.
      if (size > 0 && piece[size - 1] === 10) return Buffer.concat(pieces).toString();
    }
  }

  /** 0: not yet. */
  #read(into: Buffer): number {
    try {
      return readSync(this.#answers, into);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return 0;
      throw error;
    }
  }

  /** While this process waits, nobody collects a child that has ended. */
  #isGone(): boolean {
    try {
      const status = readFileSync(`/proc/${this.#pid}/stat`, 'utf8');
      return /^[ZX]/.test(status.slice(status.lastIndexOf(')') + 2));
    } catch {
      return true;
    }
  }
}

/** Nobody wakes it up. */
const clock = new Int32Array(new SharedArrayBuffer(4));
