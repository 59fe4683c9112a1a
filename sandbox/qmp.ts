import { EventEmitter, once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { sleep } from './command.ts';
import { SandboxError } from './failure.ts';

type Reply = {
  QMP?: unknown;
  event?: string;
  return?: unknown;
  error?: { class: string; desc: string };
};

/** A connection to the monitor socket (QMP) of a QEMU. */
export type Monitor = {
  /** Runs a command; returns its `return` value. @throws SandboxError with QEMU's error. */
  ask(command: string, args?: Record<string, unknown>): Promise<unknown>;
  /** Runs a command of the human monitor; returns its output, which is empty on success. */
  tell(line: string): Promise<string>;
  /** Waits for a new event. @throws SandboxError when it does not come in time. */
  waitFor(event: string, timeoutSeconds: number): Promise<void>;
};

/**
 * Connects to the QEMU at `socketPath`, runs `body` and disconnects; QEMU serves one client at a
 * time.
 *
 * @throws SandboxError when no QEMU answers within 10 s.
 */
export async function withMonitor<T>(
  socketPath: string,
  body: (monitor: Monitor) => Promise<T>,
): Promise<T> {
  const socket = await open(socketPath);
  const events = new EventEmitter();
  const pending: { resolve(reply: Reply): void; reject(error: Error): void }[] = [];
  const lost = () => {
    for (const waiter of pending.splice(0)) {
      waiter.reject(new SandboxError('QEMU closed the connection'));
    }
  };
  socket.on('error', lost);
  socket.on('close', lost);
  const lines = createInterface({ input: socket });
  lines.on('error', lost); // it forwards errors of the socket
  lines.on('line', (line) => {
    const reply = JSON.parse(line) as Reply;
    if (reply.event === undefined) pending.shift()?.resolve(reply);
    else events.emit(reply.event);
  });
  const next = () => new Promise<Reply>((resolve, reject) => pending.push({ resolve, reject }));

  const ask = async (command: string, args: Record<string, unknown> = {}): Promise<unknown> => {
    const reply = next();
    socket.write(`${JSON.stringify({ execute: command, arguments: args })}\n`);
    const { error, return: value } = await reply;
    if (error) throw new SandboxError(`QEMU: ${command} failed: ${error.desc}`);
    return value;
  };
  const tell = async (line: string): Promise<string> =>
    String(await ask('human-monitor-command', { 'command-line': line })).trim();

  const waitFor = async (event: string, timeoutSeconds: number): Promise<void> => {
    const signal = AbortSignal.timeout(timeoutSeconds * 1000);
    await once(events, event, { signal }).catch(() => {
      throw new SandboxError(`QEMU reported no ${event} within ${timeoutSeconds} s`);
    });
  };

  const greeting = next();
  try {
    await greeting;
    await ask('qmp_capabilities');
    return await body({ ask, tell, waitFor });
  } finally {
    socket.destroy();
  }
}

async function open(path: string): Promise<Socket> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await new Promise<Socket>((resolve, reject) => {
        const socket = connect(path);
        socket.once('connect', () => resolve(socket));
        socket.once('error', reject);
      });
    } catch {
      if (attempt === 100) throw new SandboxError(`no QEMU answers on ${path}`);
      await sleep(0.1);
    }
  }
}
