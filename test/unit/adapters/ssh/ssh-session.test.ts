import { once } from 'node:events';
import net, { type AddressInfo } from 'node:net';
import { Duplex } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { attemptConnection } from '../../../../src/adapters/ssh/connect-attempt.ts';
import { pinnedKeys } from '../../../../src/adapters/ssh/known-hosts.ts';
import { prepareLogin } from '../../../../src/adapters/ssh/login.ts';
import { openSession, SshSession } from '../../../../src/adapters/ssh/ssh-session.ts';
import { DEFAULT_CONNECT_POLICY, type SshTarget } from '../../../../src/adapters/ssh/ssh-target.ts';
import { ConfigError } from '../../../../src/model/errors.ts';
import { seconds } from '../../../../src/model/units.ts';
import { hostRefusal } from '../../../lib/refusals.ts';
import { KEYS, publicPart, TestClock, TestServer } from '../ssh-server.ts';

const quiet = () => {};

/** Forwards to the server; what becomes of each connection is told by its number. */
class Relay implements AsyncDisposable {
  connections = 0;
  readonly #server: net.Server;
  readonly #sockets = new Set<net.Socket>();

  private constructor(port: number, judge: (count: number, socket: net.Socket) => boolean) {
    this.#server = net.createServer((socket) => {
      this.connections += 1;
      this.#track(socket);
      if (!judge(this.connections, socket)) return;
      const upstream = net.connect(port, '127.0.0.1');
      this.#track(upstream);
      socket.pipe(upstream).pipe(socket);
    });
  }

  static async start(
    port: number,
    judge: (count: number, socket: net.Socket) => boolean,
  ): Promise<Relay> {
    const relay = new Relay(port, judge);
    relay.#server.listen(0, '127.0.0.1');
    await once(relay.#server, 'listening');
    return relay;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  target(): SshTarget {
    return {
      host: '127.0.0.1',
      port: this.port,
      user: 'root',
      key: KEYS.login.private,
      knownHosts: `[127.0.0.1]:${this.port} ${publicPart(KEYS.ed25519)}`,
    };
  }

  /** From now on nothing passes, and nothing is closed. */
  freeze(): void {
    for (const socket of this.#sockets) socket.unpipe().pause();
  }

  reset(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  #track(socket: net.Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => {});
  }
}

async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

describe('the host key', () => {
  const all = [KEYS.ed25519, KEYS.ecdsa, KEYS.rsa];

  test.each([
    ['ed25519', KEYS.ed25519],
    ['ECDSA', KEYS.ecdsa],
    ['RSA', KEYS.rsa],
  ])(
    'of type %s is accepted when it is the pinned one, whatever else there is',
    async (_n, pin) => {
      await using server = await TestServer.start({ hostKeys: all });
      await using session = await openSession({ target: server.target({}, pin) }, quiet);
      expect(session.handshakes).toBe(1);
      expect(server.logins).toBe(1);
    },
  );

  test('that differs ends the connection before any login is sent', async () => {
    await using server = await TestServer.start();
    const clock = new TestClock();
    const target = server.target({}, KEYS.otherEd25519);
    const error = await hostRefusal(openSession({ target, clock }, quiet));
    expect(error.message).toMatch(
      /the host key of 127\.0\.0\.1:\d+ is not the one in `known-hosts`: expected SHA256:\S{43} \(ssh-ed25519\), got SHA256:\S{43} \(ssh-ed25519\)\. Nothing was sent/,
    );
    expect(error.failure.next).toContain('reinstalled');
    expect([server.connections, server.logins, clock.slept]).toEqual([1, 0, []]);
  });

  test('of another type than the pinned one ends the connection and names what the server offers', async () => {
    await using server = await TestServer.start({ hostKeys: [KEYS.rsa] });
    const clock = new TestClock();
    const error = await hostRefusal(openSession({ target: server.target(), clock }, quiet));
    expect(error.message).toMatch(/expected SHA256:\S+ \(ssh-ed25519\), got only rsa-sha2-/);
    expect([server.connections, server.logins, clock.slept]).toEqual([1, 0, []]);
  });

  test('that is revoked ends the connection', async () => {
    await using server = await TestServer.start();
    const { port } = server;
    const knownHosts = `@revoked * ${publicPart(KEYS.ed25519)}\n[127.0.0.1]:${port} ${publicPart(KEYS.otherEd25519)}`;
    const error = await hostRefusal(openSession({ target: server.target({ knownHosts }) }, quiet));
    expect(error.message).toContain('revoked');
    expect(error.failure.evidence).toEqual(['known-hosts line 1: @revoked']);
    expect(server.logins).toBe(0);
  });

  test('that is not pinned prevents the connection', async () => {
    await using server = await TestServer.start();
    await expect(
      openSession({ target: server.target({ knownHosts: '' }) }, quiet),
    ).rejects.toBeInstanceOf(ConfigError);
    expect(server.connections).toBe(0);
  });
});

describe('the login', () => {
  test('that is refused is not retried', async () => {
    await using server = await TestServer.start();
    const clock = new TestClock();
    const target = server.target({ key: KEYS.otherLogin.private, user: 'deploy' });
    const error = await hostRefusal(openSession({ target, clock }, quiet));
    expect(error.message).toMatch(/refused the login of deploy with the key SHA256:\S{43}/);
    expect(error.failure.next).toContain(publicPart(KEYS.otherLogin));
    expect(error.failure.next).toContain('~deploy/.ssh/authorized_keys');
    expect(error.failure.evidence).toEqual(['the server accepts: publickey, password']);
    expect([server.connections, server.logins, clock.slept]).toEqual([1, 1, []]);
  });

  test('with a refused RSA key is one connection, too', async () => {
    await using server = await TestServer.start();
    const target = server.target({ key: KEYS.rsa.private });
    await hostRefusal(openSession({ target, clock: new TestClock() }, quiet));
    expect(server.connections).toBe(1);
  });

  test('with an unreadable key does not connect', async () => {
    await using server = await TestServer.start();
    const target = server.target({ key: KEYS.login.public });
    await expect(openSession({ target }, quiet)).rejects.toBeInstanceOf(ConfigError);
    expect(server.connections).toBe(0);
  });

  test('that the server aborts is not retried', async () => {
    await using server = await TestServer.start({
      onConnection: (connection) => {
        connection.on('authentication', () => connection.end());
      },
    });
    const clock = new TestClock();
    const error = await hostRefusal(openSession({ target: server.target(), clock }, quiet));
    expect(error.message).toMatch(/while root was logging in/);
    expect([server.connections, clock.slept]).toEqual([1, []]);
  });
});

describe('a server that cannot be reached', () => {
  test('is tried again when it goes before it takes up logins', async () => {
    await using server = await TestServer.start({
      onConnection: (connection, count) => {
        const { _sock: sock } = connection as unknown as { readonly _sock: net.Socket };
        if (count === 1) connection.on('handshake', () => sock.destroy());
      },
    });
    const clock = new TestClock();
    await using session = await openSession({ target: server.target(), clock }, quiet);
    expect([server.connections, clock.slept, session.handshakes]).toEqual([2, [2], 1]);
  });

  const knownHosts = (port: number) => `[127.0.0.1]:${port} ${publicPart(KEYS.ed25519)}`;

  test('is tried four times, with growing pauses', async () => {
    const port = await freePort();
    const clock = new TestClock();
    const notes: string[] = [];
    const target: SshTarget = {
      host: '127.0.0.1',
      port,
      user: 'root',
      key: KEYS.login.private,
      knownHosts: knownHosts(port),
    };
    const error = await hostRefusal(openSession({ target, clock }, (note) => notes.push(note)));
    expect(error.message).toBe(
      `cannot reach 127.0.0.1:${port}: the connection was refused (4 attempts)`,
    );
    expect(error.cause).toBeInstanceOf(Error);
    expect(clock.slept).toEqual([2, 4, 8]);
    expect(notes).toHaveLength(3);
    expect(notes[0]).toContain('(attempt 1 of 4); retrying in 2 s');
  });

  test('is reached once it is back', async () => {
    await using server = await TestServer.start();
    await using relay = await Relay.start(server.port, (count, socket) => {
      if (count === 1) socket.resetAndDestroy();
      if (count === 2) socket.end();
      return count > 2;
    });
    const clock = new TestClock();
    await using session = await openSession({ target: relay.target(), clock }, quiet);
    expect([relay.connections, clock.slept, session.handshakes]).toEqual([3, [2, 4], 1]);
    expect(session.connectSeconds).toBe(6);
  });

  test('is tried again when the handshake is aborted', async () => {
    await using server = await TestServer.start();
    await using relay = await Relay.start(server.port, (count, socket) => {
      if (count > 1) return true;
      socket.write('SSH-2.0-OpenSSH_9.2\r\n');
      socket.once('data', () => socket.resetAndDestroy());
      return false;
    });
    const clock = new TestClock();
    await using session = await openSession({ target: relay.target(), clock }, quiet);
    expect([relay.connections, session.handshakes]).toEqual([2, 1]);
  });

  test('times out when it stays silent', async () => {
    await using relay = await Relay.start(0, () => false);
    const clock = new TestClock();
    const policy = { attempts: 2, connectTimeout: seconds(0.1) };
    const error = await hostRefusal(openSession({ target: relay.target(), clock, policy }, quiet));
    expect(error.message).toContain('no answer within 0.1 s (2 attempts)');
    expect(relay.connections).toBe(2);
  });

  test('whose name does not resolve is not tried again', async () => {
    // An empty label: refused by the resolver itself, nobody is asked.
    const host = 'no..where';
    const knownHosts = `[${host}]:22022 ${publicPart(KEYS.ed25519)}`;
    const target = { host, port: 22022, user: 'root', key: KEYS.login.private, knownHosts };
    const clock = new TestClock();
    const error = await hostRefusal(openSession({ target, clock }, quiet));
    expect(error.message).toBe(
      'cannot reach no..where:22022: its name does not resolve (1 attempt)',
    );
    expect(clock.slept).toEqual([]);
  });

  test('is distinguished from one that does not speak SSH', async () => {
    await using relay = await Relay.start(0, (_count, socket) => {
      socket.write(`SSH-9-what\r\n`);
      return false;
    });
    const clock = new TestClock();
    const error = await hostRefusal(openSession({ target: relay.target(), clock }, quiet));
    expect(error.message).toContain('does not speak SSH');
    expect(relay.connections).toBe(1);
  });
});

describe('a command', () => {
  test('reads its own input, also when another one is started at the same time', async () => {
    const read: Record<string, string> = {};
    await using server = await TestServer.start({
      onExec: (channel, command) => {
        channel.on('data', (chunk: Buffer) => {
          read[command] = (read[command] ?? '') + chunk.toString();
        });
      },
    });
    await using session = await openSession({ target: server.target() }, quiet);
    const start = (name: string) => session.exec(name, 'try it', Buffer.from(`for ${name}`));
    await Promise.all([start('one'), start('two')]);
    await expect.poll(() => read).toEqual({ one: 'for one', two: 'for two' });
  });

  test('is refused by a server that runs none', async () => {
    await using server = await TestServer.start({});
    await using session = await openSession({ target: server.target() }, quiet);
    const error = await hostRefusal(session.exec('true', 'try it'));
    expect(error.message).toContain('did not run a command');
    expect(error.failure.step).toBe('try it');
  });

  test('times out when the server never opens a channel', async () => {
    await using server = await TestServer.start({ ignoreSessions: true });
    const policy = { connectTimeout: seconds(1.5) };
    await using session = await openSession({ target: server.target(), policy }, quiet);
    const error = await hostRefusal(session.exec('true', 'try it'));
    expect(error.message).toContain('did not run a command: no answer within 1.5 s');
  });
});

describe('a connection that is lost', () => {
  const silent = { onExec: () => {} };

  /** Starts a command that never ends, and waits for the reason why the connection went. */
  async function untilLost(session: SshSession, lose: () => void): Promise<string> {
    await session.exec('sleep 10', 'wait');
    return new Promise((resolve) => {
      session.onLost(resolve);
      lose();
    });
  }

  test('calls its listeners, and rejects later commands', async () => {
    await using server = await TestServer.start(silent);
    await using relay = await Relay.start(server.port, () => true);
    await using session = await openSession({ target: relay.target() }, quiet);
    expect(await untilLost(session, () => relay.reset())).toBe('the connection was reset');
    const later = await hostRefusal(session.exec('true', 'try it'));
    expect(later.message).toMatch(/the connection was reset\. Step: try it\./);
  });

  test('rejects a command that has no channel yet', async () => {
    const asked = Promise.withResolvers<void>();
    await using server = await TestServer.start({ ignoreSessions: true, onSession: asked.resolve });
    await using relay = await Relay.start(server.port, () => true);
    await using session = await openSession({ target: relay.target() }, quiet);
    const starting = hostRefusal(session.exec('true', 'try it'));
    await asked.promise;
    relay.reset();
    expect((await starting).message).toContain('the connection was reset. Step: try it.');
  });

  test('is detected by keepalives when nobody closes it', async () => {
    await using server = await TestServer.start(silent);
    await using relay = await Relay.start(server.port, () => true);
    const policy = { keepaliveInterval: seconds(0.2), keepaliveCount: 3 };
    await using session = await openSession({ target: relay.target(), policy }, quiet);
    const reason = await untilLost(session, () => relay.freeze());
    expect(reason).toBe('no reply to 3 keepalives, 0.2 s apart');
  });

  test('because the server closed it is reported as such', async () => {
    let end = () => {};
    await using server = await TestServer.start({
      onExec: (_channel, _command, connection) => {
        end = () => connection.end();
      },
    });
    await using session = await openSession({ target: server.target() }, quiet);
    expect(await untilLost(session, () => end())).toBe('the server closed it');
  });
});

describe('the end of a connection', () => {
  /** Connects over this, as over a host in between. */
  async function sessionOver(server: TestServer, sock: Duplex): Promise<SshSession> {
    const target = server.target();
    const login = await prepareLogin(target, '');
    const pins = pinnedKeys(target.knownHosts, target.host, target.port);
    const policy = { ...DEFAULT_CONNECT_POLICY, closeTimeout: seconds(0.1) };
    const attempt = await attemptConnection(target, login, pins, policy, sock);
    if (attempt.kind !== 'connected') throw new Error(attempt.kind);
    return new SshSession(target, attempt, { connectSeconds: seconds(0), policy, via: null });
  }

  test('does not wait for a network that takes nothing', async () => {
    await using server = await TestServer.start({ onExec: () => {} });
    const wire = net.connect(server.port, '127.0.0.1');
    let stalled = false;
    const sock = new Duplex({
      read: () => {},
      write: (chunk, _encoding, taken) => {
        if (!stalled) wire.write(chunk, taken);
      },
      destroy: (error, done) => {
        wire.destroy();
        done(error);
      },
    });
    wire.on('data', (chunk) => sock.push(chunk));
    await once(wire, 'connect');
    const session = await sessionOver(server, sock);
    const channel = await session.exec('cat', 'wait');
    stalled = true;
    channel.write('something');
    await session.close();
    expect(sock.destroyed).toBe(true);
  });

  test('closes the connection to the host in between when the one through it was lost', async () => {
    let drop = () => {};
    let jumps = 0;
    await using server = await TestServer.start({
      onExec: (_channel, _command, connection) => {
        drop = () => connection.end();
      },
    });
    await using jump = await TestServer.start({
      forwards: true,
      onConnection: (connection) => {
        jumps += 1;
        connection.on('close', () => {
          jumps -= 1;
        });
      },
    });
    const hop = jump.target();
    const target = server.target({ jump: { host: hop.host, port: hop.port, user: null } });
    const knownHosts = target.knownHosts + hop.knownHosts;
    const session = await openSession({ target: { ...target, knownHosts } }, quiet);
    await session.exec('sleep 10', 'wait');
    expect(jumps).toBe(1);
    const lost = new Promise((resolve) => session.onLost(resolve));
    drop();
    await lost;
    await expect.poll(() => jumps).toBe(0);
    await session.close();
  });

  test('destroys a connection whose other side never ends', async () => {
    await using server = await TestServer.start();
    // Half of it stays open, whatever the client ends.
    const deaf = net.createServer({ allowHalfOpen: true }, (socket) => {
      const upstream = net.connect(server.port, '127.0.0.1');
      for (const each of [socket, upstream]) each.on('error', () => {});
      upstream.on('data', (chunk) => socket.write(chunk));
      socket.on('data', (chunk) => upstream.write(chunk));
      socket.on('close', () => upstream.destroy());
    });
    await once(deaf.listen(0, '127.0.0.1'), 'listening');
    const { port } = deaf.address() as AddressInfo;
    const target = server.target({ port }, KEYS.otherEd25519);
    const knownHosts = `[127.0.0.1]:${port} ${publicPart(KEYS.otherEd25519)}`;
    const login = await prepareLogin(target, '');
    const pins = pinnedKeys(knownHosts, target.host, port);
    const sock = net.connect(port, '127.0.0.1');
    await once(sock, 'connect');
    const attempt = await attemptConnection(target, login, pins, DEFAULT_CONNECT_POLICY, sock);
    expect([attempt.kind, sock.destroyed]).toEqual(['refused', true]);
    deaf.close();
  });

  test('by force goes on when it has been ended already', async () => {
    await using server = await TestServer.start({ onExec: () => {} });
    const sock = net.connect(server.port, '127.0.0.1');
    await once(sock, 'connect');
    const session = await sessionOver(server, sock);
    sock.end();
    session.destroy();
    expect(sock.destroyed).toBe(true);
  });
});
