import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout } from 'node:timers/promises';
import { HostError } from '../model/errors.ts';
import { seconds } from '../model/units.ts';
import type { HostChannel, HostConnection } from './host-connection.ts';

/** How long the agent may take to exit after end-of-file. */
const CLOSE_MILLISECONDS = 2000;

/** This machine itself: the agent is a child process, without a login. */
export class LocalConnection implements HostConnection {
  readonly target: { readonly host: string; readonly user: string };
  readonly handshakes = 0;
  readonly connectSeconds = seconds(0);
  readonly #children: ChildProcess[] = [];

  /** @param user as `startCommand` takes it: one other than root uses sudo */
  constructor(user: string) {
    this.target = { host: 'this machine', user };
  }

  get execs(): number {
    return this.#children.length;
  }

  exec(command: string, step: string, input?: Uint8Array): Promise<HostChannel> {
    // In its own session: Ctrl+C reaches only this process, which then ends the agent.
    const child = spawn('/bin/sh', ['-c', command], { detached: true });
    this.#children.push(child);
    return new Promise((resolve, reject) => {
      child.once('spawn', () => {
        const channel = new LocalChannel(child);
        if (input !== undefined) channel.write(input);
        resolve(channel);
      });
      child.once('error', (error) => {
        reject(
          new HostError(`the agent could not be started: ${error.message}`, {
            step,
            next: 'check that /bin/sh and python3 exist',
          }),
        );
      });
    });
  }

  /** The connection to this machine is never lost. */
  onLost(): void {}

  lostError(step: string, reason: string): HostError {
    return new HostError(`lost the agent: ${reason}. Step: ${step}.`, {
      step,
      next: 'run again',
    });
  }

  destroy(): void {
    for (const child of this.#children.filter(isRunning)) {
      child.stdin?.destroy();
      try {
        // The shell and its children are one process group.
        if (child.pid !== undefined) process.kill(-child.pid, 'SIGTERM');
      } catch {
        // It has exited, or runs as root by sudo: then end-of-file ends it.
      }
      // A child that never exits must not keep this process alive.
      child.stdout?.destroy();
      child.stderr?.destroy();
      child.unref();
    }
  }

  async close(): Promise<void> {
    for (const child of this.#children) child.stdin?.end();
    const ends = this.#children.filter(isRunning).map((child) => once(child, 'exit'));
    const patience = new AbortController();
    const late = setTimeout(CLOSE_MILLISECONDS, undefined, { signal: patience.signal });
    await Promise.race([Promise.all(ends), late]);
    patience.abort();
    late.catch(() => {});
    this.destroy();
  }
}

const isRunning = (child: ChildProcess): boolean =>
  child.pid !== undefined && child.exitCode === null && child.signalCode === null;

class LocalChannel implements HostChannel {
  readonly #child: ChildProcess;

  constructor(child: ChildProcess) {
    this.#child = child;
    child.stdin?.on('error', () => {});
  }

  get stderr(): HostChannel['stderr'] {
    return this.#child.stderr as HostChannel['stderr'];
  }

  on(event: string, listener: (...args: never[]) => void): void {
    const source = event === 'data' ? this.#child.stdout : this.#child;
    source?.on(event, listener as (...args: unknown[]) => void);
  }

  write(data: string | Uint8Array): void {
    this.#child.stdin?.write(data);
  }

  end(): void {
    this.#child.stdin?.end();
  }
}
