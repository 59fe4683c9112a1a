import { spawn } from 'node:child_process';
import { once } from 'node:events';
import net, { type AddressInfo } from 'node:net';
import { inflateSync } from 'node:zlib';
import ssh2, { type Connection, type ServerChannel } from 'ssh2';
import { programOf, SEND_PROGRAM } from '../../../src/adapters/agent/agent-start.ts';
import type { Clock } from '../../../src/adapters/clock.ts';
import type { SshTarget } from '../../../src/adapters/ssh/ssh-target.ts';
import { type Seconds, seconds } from '../../../src/model/units.ts';

type KeyPair = ReturnType<typeof ssh2.utils.generateKeyPairSync>;

/** ssh2 drops a leading zero byte of the key, one in 256, and then cannot read what it made. */
function makeEd25519(): KeyPair {
  for (;;) {
    const pair = ssh2.utils.generateKeyPairSync('ed25519');
    if (!(ssh2.utils.parseKey(pair.public) instanceof Error)) return pair;
  }
}

export const KEYS = {
  ed25519: makeEd25519(),
  otherEd25519: makeEd25519(),
  ecdsa: ssh2.utils.generateKeyPairSync('ecdsa', { bits: 256 }),
  rsa: ssh2.utils.generateKeyPairSync('rsa', { bits: 2048 }),
  login: makeEd25519(),
  otherLogin: makeEd25519(),
} satisfies Record<string, KeyPair>;

/** `TYPE BASE64` without the comment. */
export function publicPart(pair: KeyPair): string {
  return pair.public.split(' ').slice(0, 2).join(' ');
}

export interface ServerOptions {
  readonly hostKeys?: readonly KeyPair[];
  readonly onConnection?: (connection: Connection, count: number) => void;
  readonly onExec?: (channel: ServerChannel, command: string, connection: Connection) => void;
  /** Channels are neither opened nor refused. */
  readonly ignoreSessions?: boolean;
  readonly onSession?: () => void;
  /** What it offers instead of everything that ssh2 knows. */
  readonly algorithms?: ssh2.ServerConfig['algorithms'];
  /** Whether it passes connections on. */
  readonly forwards?: boolean;
  /** Public key that may log in. */
  readonly authorized?: KeyPair;
}

/** A real SSH server on loopback, in this process. */
export class TestServer implements AsyncDisposable {
  readonly execs: string[] = [];
  /** Connections that reached the SSH greeting. */
  connections = 0;
  /** Keys that were tried, with or without a signature. */
  logins = 0;
  /** Keys about which the server was asked first, without a signature. */
  probes = 0;
  readonly #server: InstanceType<typeof ssh2.Server>;
  readonly #open = new Set<Connection>();

  private constructor(options: ServerOptions) {
    const { hostKeys = [KEYS.ed25519], authorized = KEYS.login } = options;
    const server = new ssh2.Server({
      hostKeys: hostKeys.map((key) => key.private),
      ...(options.algorithms !== undefined && { algorithms: options.algorithms }),
    });
    this.#server = server;
    const allowed = ssh2.utils.parseKey(authorized.public);
    if (allowed instanceof Error || Array.isArray(allowed)) throw new Error('bad test key');
    server.on('connection', (connection) => {
      this.connections += 1;
      this.#open.add(connection);
      // Exists at run time, but not in the types.
      (connection as Connection & { setNoDelay(on: boolean): void }).setNoDelay(true);
      connection.on('error', () => {});
      connection.on('close', () => this.#open.delete(connection));
      options.onConnection?.(connection, this.connections);
      const asked = new Set<string>();
      connection.on('authentication', (context) => {
        if (context.method !== 'publickey') return context.reject(['publickey']);
        const { key, blob, signature, hashAlgo } = context;
        const name = key.data.toString('base64');
        if (!asked.has(name)) this.logins += 1;
        if (signature === undefined) {
          this.probes += 1;
          asked.add(name);
        }
        const same = key.data.equals(allowed.getPublicSSH());
        const isGood =
          signature === undefined ||
          (blob !== undefined && allowed.verify(blob, signature, hashAlgo) === true);
        if (!same || !isGood) return context.reject(['publickey', 'password']);
        context.accept();
      });
      connection.on('tcpip', (accept, reject, { destIP, destPort }) => {
        if (options.forwards !== true) return reject();
        const socket = net.connect(destPort, destIP);
        socket.on('error', () => reject());
        socket.once('connect', () => {
          const channel = accept();
          channel.on('error', () => {});
          channel.on('close', () => socket.destroy());
          socket.on('close', () => channel.end());
          channel.pipe(socket).pipe(channel);
        });
      });
      connection.on('session', (accept) => {
        options.onSession?.();
        if (options.ignoreSessions === true) return;
        const session = accept();
        session.on('exec', (acceptExec, reject, info) => {
          this.execs.push(info.command);
          if (options.onExec === undefined) return reject();
          const channel = acceptExec();
          channel.on('error', () => {});
          options.onExec(channel, info.command, connection);
        });
      });
    });
  }

  static async start(options: ServerOptions = {}): Promise<TestServer> {
    const server = new TestServer(options);
    server.#server.listen(0, '127.0.0.1');
    await once(server.#server, 'listening');
    return server;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  target(changes: Partial<SshTarget> = {}, pinned: KeyPair = KEYS.ed25519): SshTarget {
    return {
      host: '127.0.0.1',
      port: this.port,
      user: 'root',
      key: KEYS.login.private,
      knownHosts: `[127.0.0.1]:${this.port} ${publicPart(pinned)}\n`,
      ...changes,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    for (const connection of this.#open) connection.end();
    await closed;
  }
}

/** A clock that only sleeping advances. */
export class TestClock implements Clock {
  readonly slept: number[] = [];
  #now = 0;

  now(): Seconds {
    return seconds(this.#now);
  }

  epoch(): Seconds {
    return seconds(1_768_734_000 + this.#now);
  }

  async sleep(duration: Seconds): Promise<void> {
    this.slept.push(duration);
    this.#now += duration;
  }
}

/** The other end of the protocol: reads the program, then lines. */
export interface FakeAgent {
  /** The host has this version of the agent: nothing is sent. */
  readonly isKept?: boolean;
  /** Called with the sources that were sent. */
  onProgram?(sources: Readonly<Record<string, string>>, agent: FakeAgentHandle): void;
  onAsk?(ask: FakeAsk, agent: FakeAgentHandle): void;
  onEnd?(): void;
}

export type FakeAsk = Readonly<Record<string, unknown>> & {
  readonly id: number;
  readonly ask: string;
};

export interface FakeAgentHandle {
  readonly channel: ServerChannel;
  readonly connection: Connection;
  say(message: unknown): void;
  hello(): void;
}

export const HELLO = { hello: 'celeriac', protocol: 1, python: '3.11.2', user: 'root', pid: 4711 };
/** As it is read. */
export const STREAMED = { ...HELLO, kind: 'streamed' };

export function fakeAgent(agent: FakeAgent): NonNullable<ServerOptions['onExec']> {
  return (channel, command, connection) => {
    const streamed = command.includes(SEND_PROGRAM);
    const isKept = !streamed || agent.isKept === true;
    // The request that is sent along is dropped by a bootstrap that asks for the program.
    let dropped = command.split('i.readline()').length - 2;
    let size: number | null = null;
    let input = Buffer.alloc(0);
    let started = false;
    const handle: FakeAgentHandle = {
      channel,
      connection,
      say: (message) => channel.write(`${JSON.stringify(message)}\n`),
      hello: () => handle.say(HELLO),
    };
    const leave = () => {
      channel.exit(0);
      channel.end();
    };
    const begin = (sources: Readonly<Record<string, string>>): void => {
      started = true;
      if (agent.onProgram === undefined) handle.hello();
      else agent.onProgram(sources, handle);
    };
    const takeLine = (): string | null => {
      const end = input.indexOf(10);
      if (end < 0) return null;
      const line = input.subarray(0, end).toString('utf8');
      input = input.subarray(end + 1);
      return line;
    };
    const takeProgram = () => {
      while (dropped > 0 && takeLine() !== null) dropped -= 1;
      if (dropped > 0) return;
      size ??= Number(takeLine() ?? Number.NaN) || null;
      if (size === null || input.length < size) return;
      const sources = JSON.parse(inflateSync(input.subarray(0, size)).toString('utf8'));
      input = input.subarray(size);
      begin(sources);
    };
    channel.on('data', (chunk: Buffer) => {
      input = Buffer.concat([input, chunk]);
      if (!started) takeProgram();
      for (let end = input.indexOf(10); started && end >= 0; end = input.indexOf(10)) {
        const ask = JSON.parse(input.subarray(0, end).toString('utf8')) as FakeAsk;
        input = input.subarray(end + 1);
        if (ask.ask === 'bye') leave();
        else agent.onAsk?.(ask, handle);
      }
    });
    channel.on('end', () => agent.onEnd?.());
    if (isKept) begin({});
    else channel.write(`${SEND_PROGRAM}\n`);
  };
}

/** Runs the command line for real, as a login shell would. */
export function runShell(channel: ServerChannel, command: string): void {
  const child = spawn('/bin/sh', ['-c', command], { detached: true });
  child.stdin.on('error', () => {});
  channel.pipe(child.stdin);
  child.stdout.pipe(channel, { end: false });
  child.stderr.pipe(channel.stderr, { end: false });
  child.on('close', (code, signal) => {
    if (code !== null) channel.exit(code);
    else channel.exit((signal ?? 'SIGKILL').slice(3), false, '');
    channel.end();
  });
}

export const PROGRAM = programOf({
  'celeriac_host/session/loader.py': 'raise SystemExit(0)\n',
});
