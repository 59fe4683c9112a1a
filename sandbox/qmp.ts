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

/** A conversation with one QEMU over its monitor socket (QMP). */
export type Monitor = {
  /** One command; its `return` value. @throws SandboxError with QEMU's own words. */
  ask(command: string, args?: Record<string, unknown>): Promise<unknown>;
  /** One command of the human monitor; what it printed, empty when it had nothing to complain. */
  tell(line: string): Promise<string>;
  /** Waits for an event that comes after this call. @throws SandboxError when it does not come. */
  waitFor(event: string, timeoutSeconds: number): Promise<void>;
};

/**
 * Talks to the QEMU behind `socketPath` and hangs up; QEMU serves one client at a time.
 *
 * @throws SandboxError when nobody answers within ten seconds.
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
      waiter.reject(new SandboxError('QEMU hung up'));
    }
  };
  socket.on('error', lost);
  socket.on('close', lost);
  const lines = createInterface({ input: socket });
  lines.on('error', lost); // it passes the socket's on
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
    if (error) throw new SandboxError(`QEMU refuses ${command}: ${error.desc}`);
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
