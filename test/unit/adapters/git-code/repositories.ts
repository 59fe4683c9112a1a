import { execFileSync, spawn } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { Parcel } from '../../../../src/ports/code.ts';
import { ForkServer } from '../../../lib/fork-server.ts';

const driver = join(import.meta.dirname, '../../jobs/drive_host.py');

interface Said {
  readonly value?: unknown;
  readonly error?: string;
}

/** An origin, the checkout of a host and the clone of a run, all on this machine. */
export class Repositories implements Disposable {
  readonly folder = mkdtempSync(join(tmpdir(), 'celeriac-code-'));
  readonly origin = join(this.folder, 'origin');
  readonly host = join(this.folder, 'host');
  #steps = 0;

  constructor() {
    mkdirSync(this.origin);
    this.git(this.origin, 'init', '--quiet', '--initial-branch=main');
  }

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true, force: true });
  }

  git(folder: string, ...words: readonly string[]): string {
    const identity = ['-c', 'user.name=t', '-c', 'user.email=t@localhost'];
    const env = { PATH: process.env.PATH, HOME: this.folder, GIT_CONFIG_NOSYSTEM: '1' };
    return execFileSync('git', [...identity, ...words], {
      cwd: folder,
      encoding: 'utf8',
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
    }).trim();
  }

  /** Commits these files to a repository; `null` deletes one. */
  commit(folder: string, subject: string, files: Readonly<Record<string, string | null>>): string {
    for (const [path, text] of Object.entries(files)) {
      const whole = join(folder, path);
      if (text === null) {
        rmSync(whole, { recursive: true });
      } else {
        mkdirSync(dirname(whole), { recursive: true });
        rmSync(whole, { recursive: true, force: true });
        writeFileSync(whole, text);
      }
    }
    this.git(folder, 'add', '--all', '--force');
    this.git(folder, 'commit', '--quiet', '--allow-empty', '-m', subject);
    return this.git(folder, 'rev-parse', 'HEAD');
  }

  /** A clone of the current origin. */
  clone(to: string, ...options: readonly string[]): string {
    const path = join(this.folder, to);
    this.git(this.folder, 'clone', '--quiet', ...options, `file://${this.origin}`, path);
    return path;
  }

  /** Runs a function of the host program, with a separate step for each operation. */
  drive(module: string, call: string, args: object, step = this.#steps): Said {
    const state = join(this.folder, `state-${step}`);
    return ForkServer.of(driver).ask({ module, call, args, state }) as Said;
  }

  /** Starts a function of the host program; `kill` ends it and everything that uses the checkout. */
  start(module: string, call: string, args: object): { kill(): void } {
    const state = join(this.folder, `state-${this.#steps}`);
    const child = spawn('python3', ['-I', driver], { stdio: ['pipe', 'ignore', 'ignore'] });
    child.stdin.end(JSON.stringify({ module, call, args, state }));
    return {
      kill: () => {
        child.kill('SIGKILL');
        for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
          if (workingFolder(pid) === this.host) process.kill(Number(pid), 'SIGKILL');
        }
      },
    };
  }

  /** The present step, for `drive`. */
  get step(): number {
    return this.#steps;
  }

  /** Starts another step, with its own journal. */
  begin(): void {
    this.#steps += 1;
  }

  /** Like `drive`, but throws on failure. */
  must(module: string, call: string, args: object): unknown {
    const { value, error } = this.drive(module, call, args);
    if (error !== undefined) throw new Error(error);
    return value;
  }

  refusal(module: string, call: string, args: object): string {
    const { value, error } = this.drive(module, call, args);
    if (error === undefined) throw new Error(`expected a refusal, got ${JSON.stringify(value)}`);
    return error;
  }

  /** Stores a parcel as the agent does. */
  store({ sha256, content }: Parcel): void {
    const ask = (step: string, more: object = {}) =>
      this.must('session.incoming', 'receive', { step, sha256, ...more });
    ask('begin', { sizeBytes: content.length });
    // Each process has its own partial file, named after it: so one piece in one process.
    mkdirSync(join(this.folder, `state-${this.#steps}`, 'incoming'), { recursive: true });
    writeFileSync(join(this.folder, `state-${this.#steps}`, 'incoming', sha256), content);
  }

  read(path: string): string {
    return readFileSync(join(this.host, path), 'utf8');
  }
}

function workingFolder(pid: string): string {
  try {
    return readlinkSync(`/proc/${pid}/cwd`);
  } catch {
    return '';
  }
}
