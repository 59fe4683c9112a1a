import type { HostError } from '../model/errors.ts';
import type { Seconds } from '../model/units.ts';

/** One running program on the host: bytes both ways, and how it ended. */
export interface HostChannel {
  readonly stderr: {
    on(event: 'data', listener: (chunk: Buffer) => void): unknown;
    on(event: 'error', listener: () => void): unknown;
  };
  on(event: 'data', listener: (chunk: Buffer) => void): unknown;
  on(event: 'error', listener: () => void): unknown;
  on(
    event: 'close',
    listener: (code: number | null | undefined, signal: string | undefined) => void,
  ): unknown;
  write(data: string | Uint8Array): unknown;
  end(): unknown;
}

/** How the agent is started: over an SSH session, or on this machine. */
export interface HostConnection {
  readonly target: { readonly host: string; readonly user: string };
  readonly handshakes: number;
  readonly execs: number;
  readonly connectSeconds: Seconds;
  /** Starts a shell command, with this as the beginning of what it reads. @throws HostError */
  exec(command: string, step: string, input?: Uint8Array): Promise<HostChannel>;
  /** Calls back once when the connection is lost without having been closed. */
  onLost(listener: (reason: string) => void): void;
  lostError(step: string, reason: string): HostError;
  /** Closes it at once. */
  destroy(): void;
  close(): Promise<void>;
}
