import type { HostError } from '../../model/errors.ts';
import type { Hello } from '../../model/outcome.ts';
import type { Seconds } from '../../model/units.ts';
import type { HostChannel, HostConnection } from '../host-connection.ts';
import {
  closedError,
  endedError,
  faultError,
  oversizeError,
  protocolError,
  timeoutError,
  unsentError,
} from './agent-errors.ts';
import {
  type AgentMessage,
  findHello,
  LINE_LIMIT_BYTES,
  LineSplitter,
  NOISE_LIMIT_BYTES,
  PROTOCOL,
  readMessage,
} from './agent-lines.ts';
import type { AgentKind } from './agent-options.ts';
import { SEND_PROGRAM, START_STEP } from './agent-start.ts';
import { explainStart, type StartEvidence } from './explain-start.ts';
import { explainInstalledStart } from './installed-agent.ts';
import { type AskOptions, PendingAsk } from './pending-ask.ts';

export interface LinkOptions {
  readonly helloLimit: Seconds;
  readonly kind: AgentKind;
  /** Was sent with the agent, as `requestLine` makes it; answered after the hello. */
  readonly first?: FirstAsk | undefined;
  /** What is sent if the host asks for the agent, with the first request again; `null`: it may not. */
  readonly sendProgram?: (() => Promise<Buffer>) | null;
}

export interface FirstAsk {
  readonly message: Request;
  readonly step: string;
  readonly options: AskOptions;
}

type Request = Readonly<Record<string, unknown>>;

const FIRST_ID = 1;

/** One line of the protocol. */
function requestLine(message: Request, id: number): string {
  return `${JSON.stringify({ id, protocol: PROTOCOL, ...message })}\n`;
}

/** The request that is sent with the agent. */
export const firstLine = ({ message }: FirstAsk): string => requestLine(message, FIRST_ID);

const STDERR_KEPT_CHARACTERS = 16 * 1024;

/** The JSON lines of one agent: matches answers to requests; a failure ends all of them at once. */
export class AgentLink {
  readonly hello: Promise<Hello>;
  readonly #connection: HostConnection;
  readonly #channel: HostChannel;
  readonly #kind: AgentKind;
  readonly #lines = new LineSplitter();
  readonly #pending = new Map<number, PendingAsk>();
  readonly #first: FirstAsk | null;
  #sendProgram: (() => Promise<Buffer>) | null;
  readonly #greet: (hello: Hello) => void;
  readonly #refuse: (error: Error) => void;
  readonly #helloTimer: NodeJS.Timeout;
  #state: 'starting' | 'ready' | 'leaving' | 'failed' = 'starting';
  #noise = '';
  #noiseBytes = 0;
  #stderr = '';
  #failure: HostError | null = null;
  /** The connection or the agent is gone, as opposed to a message that makes no sense. */
  isLost = false;
  #lastId = 0;
  sent = 0;
  received = 0;

  constructor(connection: HostConnection, channel: HostChannel, options: LinkOptions) {
    const { helloLimit, kind, first, sendProgram = null } = options;
    this.#connection = connection;
    this.#kind = kind;
    this.#channel = channel;
    const hello = Promise.withResolvers<Hello>();
    this.hello = hello.promise;
    this.#greet = hello.resolve;
    this.#refuse = hello.reject;
    this.#first = first ?? null;
    this.#sendProgram = sendProgram;
    if (first !== undefined) {
      this.#lastId = FIRST_ID;
      this.sent = 1;
    }
    this.#helloTimer = setTimeout(() => {
      this.#failStart({ kind: 'timed-out', seconds: helloLimit });
    }, helloLimit * 1000);
    channel.on('data', (chunk: Buffer) => this.#take(chunk));
    channel.stderr.on('data', (chunk: Buffer) => {
      this.#stderr = (this.#stderr + chunk.toString('utf8')).slice(-STDERR_KEPT_CHARACTERS);
    });
    // `close` reports how a channel ended; without a listener, an error would end the process.
    channel.on('error', () => {});
    channel.stderr.on('error', () => {});
    channel.on('close', (code: number | null | undefined, signal: string | undefined) => {
      this.#close(code ?? null, signal ?? null);
    });
    connection.onLost((reason) => {
      this.isLost ||= this.#state === 'ready';
      this.#fail((point) => connection.lostError(point, reason));
    });
  }

  /** The answer to the request that was sent with the agent. Ask for it once, after the hello. */
  firstAnswer: Promise<unknown> | null = null;

  /** Asks and waits for the answer with the same id. */
  async ask(message: Request, step: string, options: AskOptions): Promise<unknown> {
    if (this.#failure !== null || this.#state !== 'ready') {
      throw this.#failure ?? closedError(step);
    }
    this.#lastId += 1;
    const id = this.#lastId;
    const line = requestLine(message, id);
    if (Buffer.byteLength(line) > LINE_LIMIT_BYTES) {
      throw oversizeError(step, LINE_LIMIT_BYTES);
    }
    const { answer } = this.#expect(id, step, options);
    this.#send(line);
    return answer;
  }

  #expect(id: number, step: string, options: AskOptions): PendingAsk {
    const pending = new PendingAsk(step, options, (limit) => {
      // The agent is stuck, and nothing that it says later can be trusted.
      this.#fail((point) => timeoutError(point, limit));
      this.#connection.destroy();
    });
    this.#pending.set(id, pending);
    return pending;
  }

  /**
   * Asks the agent to exit. It does so also when the end of its input comes first, so nothing waits for
   * it.
   */
  sayBye(): void {
    if (this.#state !== 'ready') return;
    this.#state = 'leaving';
    this.#lastId += 1;
    this.#send(requestLine({ ask: 'bye' }, this.#lastId));
    this.#channel.end();
  }

  #send(line: string): void {
    this.sent += 1;
    this.#channel.write(line);
  }

  #take(chunk: Buffer): void {
    if (this.#state === 'failed') return;
    for (const line of this.#lines.push(chunk)) {
      if (this.#state === 'starting') this.#takeNoise(line);
      else if (this.#isFailed()) return;
      else this.#takeLine(line);
    }
    if (
      this.#state === 'starting' &&
      this.#noiseBytes + this.#lines.pendingBytes > NOISE_LIMIT_BYTES
    ) {
      this.#failStart({ kind: 'noise', limitBytes: NOISE_LIMIT_BYTES });
    } else if (this.#lines.pendingBytes > LINE_LIMIT_BYTES) {
      this.#breakOff(`a line is longer than ${LINE_LIMIT_BYTES} bytes`, []);
    }
  }

  /** A method, because the type checker does not know that taking a line may change the state. */
  #isFailed(): boolean {
    return this.#state === 'failed';
  }

  #takeNoise(line: string): void {
    const hello = findHello(line);
    if (hello === null && this.#sendProgram !== null && line.endsWith(SEND_PROGRAM)) {
      const sending = this.#sendProgram();
      this.#sendProgram = null;
      sending.then(
        (input) => this.#channel.write(input),
        (error: Error) => {
          this.#fail((point) => unsentError(point, error.message));
          this.#connection.destroy();
        },
      );
      return;
    }
    if (hello === null) {
      this.#noise += `${line}\n`;
      this.#noiseBytes += Buffer.byteLength(line) + 1;
      return;
    }
    clearTimeout(this.#helloTimer);
    this.received += 1;
    this.#state = 'ready';
    if (this.#first !== null) this.firstAnswer = this.#expectFirst(this.#first);
    this.#greet(hello);
  }

  #expectFirst({ step, options }: FirstAsk): Promise<unknown> {
    const { answer } = this.#expect(FIRST_ID, step, options);
    // Nobody may ask for it.
    answer.catch(() => {});
    return answer;
  }

  #takeLine(line: string): void {
    if (Buffer.byteLength(line) > LINE_LIMIT_BYTES) {
      this.#breakOff(`a line is longer than ${LINE_LIMIT_BYTES} bytes`, []);
      return;
    }
    const message = readMessage(line);
    switch (message.kind) {
      case 'noise':
        this.#breakOff('a line is not a JSON object', [line.slice(0, 300)]);
        break;
      case 'refused':
        this.#breakOff(`unexpected shape: ${message.problem}`, []);
        break;
      case 'read':
        this.received += 1;
        this.#deliver(message.value);
    }
  }

  #deliver(message: AgentMessage): void {
    if (message.kind === 'fault' && message.id === null) {
      const { fault } = message;
      this.#fail((point) => faultError(point, fault));
      return;
    }
    const { id } = message;
    const pending = id === null ? undefined : this.#pending.get(id);
    if (id === null || pending === undefined) {
      this.#breakOff(`it answers request ${id}, which is not pending`, []);
      return;
    }
    if (message.kind !== 'progress') this.#pending.delete(id);
    switch (message.kind) {
      case 'answer':
        pending.resolve(message.answer);
        break;
      case 'fault':
        pending.reject(faultError(pending.point, message.fault));
        break;
      case 'progress':
        try {
          pending.tell(message.progress);
        } catch (error) {
          // The listener failed: disconnect from the host, which continues alone.
          pending.reject(error instanceof Error ? error : new Error(String(error)));
          this.#fail(closedError);
          this.#connection.destroy();
        }
        break;
    }
  }

  #close(code: number | null, signal: string | null): void {
    if (this.#state === 'starting') {
      this.#failStart({ kind: 'exit', code, signal });
      return;
    }
    if (this.#state === 'leaving') {
      this.#fail(closedError);
      return;
    }
    this.isLost ||= this.#state === 'ready';
    this.#fail((point) => endedError(point, code, signal, this.#stderr));
  }

  #breakOff(problem: string, evidence: readonly string[]): void {
    this.#fail((point) => protocolError(point, problem, evidence));
    this.#connection.destroy();
  }

  #failStart(ended: StartEvidence['ended']): void {
    if (this.#state !== 'starting') return;
    const { host, user } = this.#connection.target;
    const explain = this.#kind === 'installed' ? explainInstalledStart : explainStart;
    const error = explain({
      host,
      user,
      stdout: this.#noise + this.#lines.pendingText,
      stderr: this.#stderr,
      ended,
    });
    this.#fail(() => error);
  }

  #fail(explain: (point: string) => HostError): void {
    if (this.#state === 'failed') return;
    const starting = this.#state === 'starting';
    this.#state = 'failed';
    clearTimeout(this.#helloTimer);
    this.#failure = explain('wait for the next request');
    if (starting) this.#refuse(explain(START_STEP));
    for (const pending of this.#pending.values()) pending.reject(explain(pending.point));
    this.#pending.clear();
  }
}
