import { once } from 'node:events';
import net, { type AddressInfo, type Socket } from 'node:net';

/** What a fresh TCP connection may send before its first acknowledgement: ten segments, as in Linux. */
const INITIAL_WINDOW_BYTES = 14_600;

/** A port on loopback that leads to another one as if it were far away. */
export interface DelayProxy extends AsyncDisposable {
  readonly port: number;
}

export interface Distance {
  /** There and back. */
  readonly milliseconds: number;
  /** Whether bytes wait for acknowledgements as in a fresh TCP connection; otherwise only the distance counts. */
  readonly slowStart: boolean;
}

/**
 * Opens a port that leads to this one. Connecting takes one round trip, bytes half of one each way;
 * with `slowStart` no more of them are on their way than TCP lets a new connection send.
 */
export async function openDelayProxy(
  { host, port }: { readonly host: string; readonly port: number },
  distance: Distance,
): Promise<DelayProxy> {
  const open = new Set<Socket>();
  const { milliseconds } = distance;
  const server = net.createServer({ allowHalfOpen: true }, (near) => {
    const far = new net.Socket({ allowHalfOpen: true });
    for (const socket of [near, far]) {
      socket.setNoDelay(true).on('error', () => {});
      open.add(socket);
      socket.on('close', () => open.delete(socket));
    }
    // The kernel has accepted at once: the round trip that this takes is added here.
    setTimeout(() => {
      // Before the first bytes, which take as long: a socket that does not yet connect drops them.
      setTimeout(() => far.connect(port, host), milliseconds / 2);
      carry(near, far, distance);
    }, milliseconds);
    carry(far, near, distance);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close');
      server.close();
      for (const socket of open) socket.destroy();
      await closed;
    },
  };
}

/** Carries bytes one way, from now on. */
function carry(from: Socket, to: Socket, { milliseconds, slowStart }: Distance): void {
  const waiting: Buffer[] = [];
  let window = slowStart ? INITIAL_WINDOW_BYTES : Number.POSITIVE_INFINITY;
  let onTheirWay = 0;
  let ended = false;

  const send = (): void => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const part = next.subarray(0, Math.max(0, window - onTheirWay));
      if (part.length < next.length) waiting.unshift(next.subarray(part.length));
      if (part.length === 0) return;
      onTheirWay += part.length;
      setTimeout(() => to.write(part), milliseconds / 2);
      setTimeout(() => {
        onTheirWay -= part.length;
        window += part.length;
        send();
      }, milliseconds);
    }
    if (!ended) return;
    ended = false;
    setTimeout(() => to.end(), milliseconds / 2);
  };
  from.on('data', (chunk: Buffer) => {
    waiting.push(chunk);
    send();
  });
  from.on('end', () => {
    ended = true;
    send();
  });
  from.on('close', (failed: boolean) => {
    if (failed) setTimeout(() => to.destroy(), milliseconds / 2);
  });
}
