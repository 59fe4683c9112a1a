import { createHash } from 'node:crypto';
import { promisify } from 'node:util';
import { inflate } from 'node:zlib';
import { HostError } from '../../model/errors.ts';
import type { FactQuery, FactsFor } from '../../model/facts.ts';
import type { Extract } from '../../model/job-store.ts';
import type { Operation } from '../../model/operation.ts';
import type {
  Deed,
  Hello,
  JobReport,
  JobRequest,
  Opened,
  Outcome,
  Progress,
  SnapshotInfo,
  TransactionMeta,
} from '../../model/outcome.ts';
import { type Bytes, type Seconds, seconds } from '../../model/units.ts';
import type { Agent, OnProgress, Traffic } from '../../ports/agent.ts';
import type { Parcel } from '../../ports/code.ts';
import { systemClock } from '../clock.ts';
import type { HostChannel, HostConnection } from '../host-connection.ts';
import { lastLines } from '../last-lines.ts';
import { type OnNote, openSession, type SessionOptions } from '../ssh/ssh-session.ts';
import {
  type AgentMessage,
  type Fault,
  findHello,
  isRecord,
  LINE_LIMIT_BYTES,
  LineSplitter,
  NOISE_LIMIT_BYTES,
  readConfirmed,
  readDeeds,
  readJobReport,
  readMessage,
  readOutcome,
  readReceived,
  readSnapshotInfo,
} from './agent-lines.ts';
import {
  explainStart,
  type HostProgram,
  packProgram,
  type StartEvidence,
  startCommand,
} from './agent-start.ts';

export type { OnNote } from '../ssh/ssh-session.ts';
export type { SshTarget } from '../ssh/ssh-target.ts';
export type { HostProgram } from './agent-start.ts';

export interface AgentLimits {
  /** From the exec to the hello. */
  readonly hello: Seconds;
  readonly look: Seconds;
  /** When an app's worker and broker are asked, in a process of the app's own. */
  readonly lookAtTasks: Seconds;
  /** For one piece of what is sent, on a slow disk. */
  readonly receive: Seconds;
  /** Silence between two pieces of a snapshot. */
  readonly snapshotSilence: Seconds;
  /** What `submit` may take beyond the time-outs of its jobs. */
  readonly submitMargin: Seconds;
  /** How long to wait for the agent to leave after its bye. */
  readonly bye: Seconds;
  /** How long to try to get back to a host that works on without us. */
  readonly reconnect: Seconds;
}

const DEFAULT_LIMITS: AgentLimits = {
  hello: seconds(60),
  look: seconds(60),
  lookAtTasks: seconds(240),
  receive: seconds(120),
  snapshotSilence: seconds(120),
  submitMargin: seconds(60),
  bye: seconds(5),
  reconnect: seconds(300),
};

const RECONNECT_PAUSE = seconds(2);

export interface AgentOptions extends SessionOptions {
  /** The Python program that is sent: path → source. */
  readonly program: HostProgram;
  readonly limits?: Partial<AgentLimits>;
  /** Instead of SSH. */
  readonly connect?: () => Promise<HostConnection>;
}

/** In base64, with what stands around it, less than a line may have. */
const PIECE_BYTES = 720 * 1024;
const START_STEP = 'start the agent';
const STDERR_KEPT_CHARACTERS = 16 * 1024;

/**
 * Connects, sends the agent and waits for its hello: one handshake, one exec.
 *
 * @throws ConfigError for unusable inputs; HostError when the host cannot be reached, refuses the
 * login, or cannot run the agent.
 */
export async function openAgent(options: AgentOptions, onNote: OnNote): Promise<Agent> {
  return new SshAgent(await startAgent(options, onNote), options, onNote);
}

/** One session with the agent in it. */
interface Started {
  readonly session: HostConnection;
  readonly link: AgentLink;
  readonly hello: Hello;
  readonly startSeconds: Seconds;
}

async function startAgent(options: AgentOptions, onNote: OnNote): Promise<Started> {
  const clock = options.clock ?? systemClock;
  const session = await (options.connect?.() ?? openSession(options, onNote));
  try {
    const begun = clock.now();
    const program = packProgram(options.program);
    const command = startCommand(program.length, options.target.user);
    const channel = await session.exec(command, START_STEP);
    const link = new AgentLink(session, channel, limitsOf(options));
    channel.write(program);
    const hello = await link.hello;
    return { session, link, hello, startSeconds: seconds(clock.now() - begun) };
  } catch (error) {
    await session.close();
    throw error;
  }
}

const limitsOf = (options: AgentOptions): AgentLimits => ({ ...DEFAULT_LIMITS, ...options.limits });

class SshAgent implements Agent {
  readonly #options: AgentOptions;
  readonly #limits: AgentLimits;
  readonly #onNote: OnNote;
  /** The last is the one that is talked to; those before it were lost. */
  readonly #starts: Started[];
  #closing: Promise<void> | null = null;

  constructor(start: Started, options: AgentOptions, onNote: OnNote) {
    this.#starts = [start];
    this.#options = options;
    this.#limits = limitsOf(options);
    this.#onNote = onNote;
  }

  get hello(): Hello {
    return this.#now.hello;
  }

  get traffic(): Traffic {
    const sum = (of: (start: Started) => number) =>
      this.#starts.reduce((total, start) => total + of(start), 0);
    return {
      handshakes: sum(({ session }) => session.handshakes),
      execs: sum(({ session }) => session.execs),
      messagesSent: sum(({ link }) => link.sent),
      messagesReceived: sum(({ link }) => link.received),
      connectSeconds: seconds(sum(({ session }) => session.connectSeconds)),
      startSeconds: seconds(sum(({ startSeconds }) => startSeconds)),
    };
  }

  get #now(): Started {
    return this.#starts.at(-1) as Started;
  }

  get #link(): AgentLink {
    return this.#now.link;
  }

  async look<const Query extends FactQuery>(query: Query): Promise<FactsFor<Query>> {
    const names = Object.keys(query);
    const step = `look at ${names.join(', ')}`;
    const answer = await this.#link.ask({ ask: 'look', query }, step, {
      total: 'tasks' in query ? this.#limits.lookAtTasks : this.#limits.look,
    });
    const missing = names.filter((name) => !isRecord(answer) || answer[name] === undefined);
    if (missing.length > 0) {
      throw protocolError(step, `the answer lacks ${missing.join(', ')}`, []);
    }
    return answer as FactsFor<Query>;
  }

  async send(parcel: Parcel, onProgress: OnProgress): Promise<void> {
    const { sha256, sizeBytes, content, title } = parcel;
    const step = `send ${title}`;
    const ask = async (message: Readonly<Record<string, unknown>>) => {
      const limit = { total: this.#limits.receive };
      const answer = await this.#link.ask({ ask: 'receive', sha256, ...message }, step, limit);
      const received = readReceived(answer);
      if (received === null) throw protocolError(step, 'the answer is not that of a receiver', []);
      return received;
    };
    const { whole } = await ask({ step: 'begin', sizeBytes });
    if (whole) return;
    for (let offset = 0; offset < content.length; offset += PIECE_BYTES) {
      const piece = content.subarray(offset, offset + PIECE_BYTES);
      const data = Buffer.from(piece).toString('base64');
      const received = await ask({ step: 'piece', offset, data });
      if (received.sizeBytes !== offset + piece.length) {
        throw protocolError(step, `${received.sizeBytes} bytes are there after ${offset}`, []);
      }
    }
    await ask({ step: 'end' });
    onProgress({ kind: 'note', message: `${title} is on the host (${sizeBytes} bytes)` });
  }

  async apply(
    operations: readonly Operation[],
    meta: TransactionMeta,
    onProgress: OnProgress,
  ): Promise<Outcome> {
    return this.#transact({ ask: 'apply', operations, meta }, 'apply the plan', onProgress);
  }

  async undo(
    transactions: readonly string[],
    meta: TransactionMeta,
    onProgress: OnProgress,
  ): Promise<Outcome> {
    const step = `undo transaction ${transactions.join(', ')}`;
    return this.#transact({ ask: 'undo', transactions, meta }, step, onProgress);
  }

  async recover(meta: TransactionMeta, onProgress: OnProgress): Promise<readonly Deed[]> {
    const step = 'put right what an earlier run left';
    const deeds = readDeeds(await this.#link.ask({ ask: 'recover', meta }, step, { onProgress }));
    if (deeds === null) throw protocolError(step, 'the answer lacks its deeds', []);
    return deeds;
  }

  async confirm(
    unit: string,
    transactions: readonly string[],
    meta: TransactionMeta,
  ): Promise<boolean> {
    const step = `confirm the release of ${unit}`;
    const answer = await this.#link.ask({ ask: 'confirm', unit, transactions, meta }, step, {});
    const confirmed = readConfirmed(answer);
    if (confirmed === null) throw protocolError(step, 'the answer lacks what was confirmed', []);
    return confirmed;
  }

  async snapshot(
    database: string,
    limitBytes: Bytes,
    extract: Extract,
    onProgress: OnProgress,
  ): Promise<{ readonly info: SnapshotInfo; readonly content: Uint8Array }> {
    const step = `copy ${database}`;
    const pieces: Buffer[] = [];
    let packedBytes = 0;
    const collect = (progress: Progress) => {
      if (progress.kind !== 'chunk') {
        onProgress(progress);
        return;
      }
      const piece = Buffer.from(progress.data, 'base64');
      packedBytes += piece.length;
      // zlib never makes data larger than by some bytes a block.
      if (packedBytes > limitBytes + limitBytes / 1000 + 1024) {
        throw tooLarge(step, database, limitBytes);
      }
      pieces.push(piece);
    };
    const answer = await this.#link.ask({ ask: 'snapshot', database, limitBytes, extract }, step, {
      silence: this.#limits.snapshotSilence,
      onProgress: collect,
    });
    const info = readSnapshotInfo(answer);
    if (info === null) throw protocolError(step, 'the answer is not that of a snapshot', []);
    const content = await inflateBounded(Buffer.concat(pieces), step, database, limitBytes);
    const sha256 = createHash('sha256').update(content).digest('hex');
    if (content.length !== info.sizeBytes || sha256 !== info.sha256) {
      throw protocolError(step, 'the copy did not arrive whole', [
        `expected: ${info.sizeBytes} bytes, SHA-256 ${info.sha256}`,
        `got:      ${content.length} bytes, SHA-256 ${sha256}`,
      ]);
    }
    return { info, content };
  }

  async submit(request: JobRequest, onProgress: OnProgress): Promise<JobReport> {
    const step = 'submit jobs';
    const total = seconds(
      request.timeoutSeconds * Math.max(1, countJobs(request)) + this.#limits.submitMargin,
    );
    const answer = await this.#link.ask({ ask: 'submit', request }, step, { total, onProgress });
    const report = readJobReport(answer);
    if (report === null) throw protocolError(step, 'the answer is not a report of jobs', []);
    return report;
  }

  close(): Promise<void> {
    this.#closing ??= this.#leave();
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /**
   * Asks for work that the host does on its own; when the connection goes, makes another one and
   * follows it from there. No total limit: it takes what its operations take, and keepalives tell
   * a dead link.
   */
  async #transact(
    message: Readonly<Record<string, unknown>>,
    step: string,
    onProgress: OnProgress,
  ): Promise<Outcome> {
    let opened: Opened | null = null;
    let told = 0;
    let question = message;
    for (;;) {
      // Another connection streams from the beginning.
      let toSkip = told;
      const listen = (progress: Progress): void => {
        if (progress.kind === 'opened') {
          opened = { transactions: progress.transactions, live: progress.live };
        } else if (opened !== null && toSkip > 0) {
          toSkip -= 1;
        } else {
          told += opened === null ? 0 : 1;
          onProgress(progress);
        }
      };
      try {
        const answer = await this.#link.ask(question, step, { onProgress: listen });
        const outcome = readOutcome(answer);
        if (outcome === null) throw protocolError(step, 'the answer is not an outcome', []);
        return outcome;
      } catch (error) {
        if (opened === null || !this.#link.isLost) throw error;
        await this.#reconnect(error);
        question = { ask: 'follow', opened };
      }
    }
  }

  /** @throws the loss itself when the host does not come back in time */
  async #reconnect(loss: unknown): Promise<void> {
    const clock = this.#options.clock ?? systemClock;
    const end = clock.now() + this.#limits.reconnect;
    this.#onNote('the connection was lost; the host works on without it. Connecting again');
    // Where only the agent died, its connection is still there, and would keep this process alive.
    this.#now.session.destroy();
    for (;;) {
      try {
        this.#starts.push(await startAgent(this.#options, this.#onNote));
        this.#onNote('connected again: following the work on the host');
        return;
      } catch {
        if (clock.now() >= end) throw loss;
        await clock.sleep(RECONNECT_PAUSE);
      }
    }
  }

  async #leave(): Promise<void> {
    const { link, session } = this.#now;
    await link.sayBye(this.#limits.bye);
    await session.close();
  }
}

function countJobs(request: JobRequest): number {
  switch (request.kind) {
    case 'canary':
      return request.queues.length;
    case 'task':
      return request.calls.length;
    case 'http':
      return 1;
  }
}

interface AskOptions {
  /** From sending to the answer. */
  readonly total?: Seconds;
  /** Between two messages. */
  readonly silence?: Seconds;
  readonly onProgress?: OnProgress;
}

interface Pending {
  readonly step: string;
  readonly resolve: (answer: unknown) => void;
  readonly reject: (error: Error) => void;
  /** What it is doing right now, for people. */
  point: string;
  onMessage(progress: Progress | null): void;
}

/** The JSON lines of one agent: matches answers to what was asked, and fails all at once. */
class AgentLink {
  readonly hello: Promise<Hello>;
  readonly #session: HostConnection;
  readonly #channel: HostChannel;
  readonly #lines = new LineSplitter();
  readonly #pending = new Map<number, Pending>();
  readonly #ended: Promise<void>;
  readonly #greet: (hello: Hello) => void;
  readonly #refuse: (error: Error) => void;
  readonly #helloTimer: NodeJS.Timeout;
  #state: 'starting' | 'ready' | 'leaving' | 'failed' = 'starting';
  #noise = '';
  #noiseBytes = 0;
  #stderr = '';
  #failure: HostError | null = null;
  /** The connection or the agent went; not that they misunderstand each other. */
  isLost = false;
  #lastId = 0;
  sent = 0;
  received = 0;

  constructor(session: HostConnection, channel: HostChannel, limits: AgentLimits) {
    this.#session = session;
    this.#channel = channel;
    const hello = Promise.withResolvers<Hello>();
    this.hello = hello.promise;
    this.#greet = hello.resolve;
    this.#refuse = hello.reject;
    const ended = Promise.withResolvers<void>();
    this.#ended = ended.promise;

    this.#helloTimer = setTimeout(() => {
      this.#failStart({ kind: 'timed-out', seconds: limits.hello });
    }, limits.hello * 1000);
    channel.on('data', (chunk: Buffer) => this.#take(chunk));
    channel.stderr.on('data', (chunk: Buffer) => {
      this.#stderr = (this.#stderr + chunk.toString('utf8')).slice(-STDERR_KEPT_CHARACTERS);
    });
    // What ends a channel is told by `close`; without a listener an error would end the process.
    channel.on('error', () => {});
    channel.stderr.on('error', () => {});
    channel.on('close', (code: number | null | undefined, signal: string | undefined) => {
      ended.resolve();
      this.#close(code ?? null, signal ?? null);
    });
    session.onLost((reason) => {
      ended.resolve();
      this.isLost ||= this.#state === 'ready';
      this.#fail((point) => session.lostError(point, reason));
    });
  }

  /** Asks and waits for the answer with the same id. */
  ask(
    message: Readonly<Record<string, unknown>>,
    step: string,
    options: AskOptions,
  ): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== null || this.#state !== 'ready') {
        reject(this.#failure ?? closedError(step));
        return;
      }
      this.#lastId += 1;
      const id = this.#lastId;
      const line = `${JSON.stringify({ id, ...message })}\n`;
      if (Buffer.byteLength(line) > LINE_LIMIT_BYTES) {
        reject(protocolError(step, `what is asked is larger than ${LINE_LIMIT_BYTES} bytes`, []));
        return;
      }
      this.#pending.set(id, this.#await(id, step, options, resolve, reject));
      this.#send(line);
    });
  }

  /** Asks the agent to leave; ends the wait when it does not. Never throws. */
  async sayBye(patience: Seconds): Promise<void> {
    if (this.#state !== 'ready') return;
    this.#state = 'leaving';
    this.#lastId += 1;
    this.#send(`${JSON.stringify({ id: this.#lastId, ask: 'bye' })}\n`);
    this.#channel.end();
    let timer: NodeJS.Timeout | undefined;
    const patienceEnds = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, patience * 1000);
    });
    await Promise.race([this.#ended, patienceEnds]);
    clearTimeout(timer);
  }

  #send(line: string): void {
    this.sent += 1;
    this.#channel.write(line);
  }

  #await(
    id: number,
    step: string,
    options: AskOptions,
    resolve: (answer: unknown) => void,
    reject: (error: Error) => void,
  ): Pending {
    const { total, silence, onProgress } = options;
    let totalTimer: NodeJS.Timeout | undefined;
    let silenceTimer: NodeJS.Timeout | undefined;
    const stop = () => {
      clearTimeout(totalTimer);
      clearTimeout(silenceTimer);
      this.#pending.delete(id);
    };
    const expire = (limit: Seconds) => () => {
      // The agent is stuck and nothing it says later can be trusted.
      this.#fail((point) => timeoutError(point, limit));
      this.#session.destroy();
    };
    const listen = () => {
      clearTimeout(silenceTimer);
      if (silence !== undefined) silenceTimer = setTimeout(expire(silence), silence * 1000);
    };
    if (total !== undefined) totalTimer = setTimeout(expire(total), total * 1000);
    listen();
    const pending: Pending = {
      step,
      point: step,
      resolve: (answer) => {
        stop();
        resolve(answer);
      },
      reject: (error) => {
        stop();
        reject(error);
      },
      onMessage: (progress) => {
        listen();
        if (progress === null) return;
        if (progress.kind === 'step-started') pending.point = `${step}: ${progress.title}`;
        onProgress?.(progress);
      },
    };
    return pending;
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

  /** As a method: the type checker does not know that taking a line may change the state. */
  #isFailed(): boolean {
    return this.#state === 'failed';
  }

  #takeNoise(line: string): void {
    const hello = findHello(line);
    if (hello === null) {
      this.#noise += `${line}\n`;
      this.#noiseBytes += Buffer.byteLength(line) + 1;
      return;
    }
    clearTimeout(this.#helloTimer);
    this.received += 1;
    this.#state = 'ready';
    this.#greet(hello);
  }

  #takeLine(line: string): void {
    if (Buffer.byteLength(line) > LINE_LIMIT_BYTES) {
      this.#breakOff(`a line is longer than ${LINE_LIMIT_BYTES} bytes`, []);
      return;
    }
    const message = readMessage(line);
    if (message === null) {
      this.#breakOff('a line is not a message', [line.slice(0, 300)]);
      return;
    }
    this.received += 1;
    this.#deliver(message);
  }

  #deliver(message: AgentMessage): void {
    if (message.kind === 'fault' && message.id === null) {
      const { fault } = message;
      this.#fail((point) => faultError(point, fault));
      return;
    }
    const pending = message.id === null ? undefined : this.#pending.get(message.id);
    if (pending === undefined) {
      this.#breakOff(`a message has the id ${message.id}, which nothing waits for`, []);
      return;
    }
    switch (message.kind) {
      case 'answer':
        pending.resolve(message.answer);
        break;
      case 'fault':
        pending.reject(faultError(pending.point, message.fault));
        break;
      case 'progress':
        try {
          pending.onMessage(message.progress);
        } catch (error) {
          // Whoever follows the progress cannot go on: let go of the host, which goes on alone.
          pending.reject(error instanceof Error ? error : new Error(String(error)));
          this.#breakOff('its progress could not be followed', []);
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
    const how = code === null ? (signal ?? 'no exit code') : `exit code ${code}`;
    this.#fail(
      (point) =>
        new HostError(`The agent ended at: ${point} (${how}).`, {
          step: point,
          ran: ['python3'],
          exitCode: code,
          evidence: lastLines(this.#stderr, 20),
          next: 'See the last lines above; when it was killed, look for the out-of-memory killer in `journalctl -k`. Run again: what the host holds is read anew.',
        }),
    );
  }

  #breakOff(problem: string, evidence: readonly string[]): void {
    this.#fail((point) => protocolError(point, problem, evidence));
    this.#session.destroy();
  }

  #failStart(ended: StartEvidence['ended']): void {
    if (this.#state !== 'starting') return;
    const { host, user } = this.#session.target;
    const error = explainStart({
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
    this.#failure = explain('wait for the next question');
    if (starting) this.#refuse(explain(START_STEP));
    for (const pending of [...this.#pending.values()]) pending.reject(explain(pending.point));
  }
}

function faultError(step: string, fault: Fault): HostError {
  return new HostError(fault.message, {
    step,
    ...(fault.ran ? { ran: fault.ran } : {}),
    ...(fault.exitCode === undefined ? {} : { exitCode: fault.exitCode }),
    evidence: fault.evidence ?? [],
    undone: [],
    next: fault.next || 'See the lines above, and `journalctl` on the server.',
  });
}

function timeoutError(step: string, limit: Seconds): HostError {
  return new HostError(`The host did not answer within ${limit} s at: ${step}.`, {
    step,
    exitCode: null,
    evidence: [],
    next: 'See whether the server is overloaded or a disk of it hangs (`uptime`, `dmesg`), then run again.',
  });
}

function closedError(step: string): HostError {
  return new HostError(`The session with the host was closed at: ${step}.`, {
    step,
    evidence: [],
    next: 'Run again: what the host holds is read anew.',
  });
}

function protocolError(step: string, problem: string, evidence: readonly string[]): HostError {
  return new HostError(
    `The agent and the action do not understand each other at: ${step} (${problem}).`,
    {
      step,
      evidence,
      next: 'This is a fault of Celeriac: report it with these lines.',
    },
  );
}

function tooLarge(step: string, database: string, limitBytes: Bytes): HostError {
  return new HostError(`${database} is larger than ${limitBytes} bytes, too large to be copied.`, {
    step,
    evidence: [],
    next: 'Name a smaller database, or remove old rows from this one.',
  });
}

const inflateAll = promisify(inflate) as (
  data: Buffer,
  options: { readonly maxOutputLength: number },
) => Promise<Buffer>;

async function inflateBounded(
  packed: Buffer,
  step: string,
  database: string,
  limitBytes: Bytes,
): Promise<Buffer> {
  try {
    return await inflateAll(packed, { maxOutputLength: Math.max(1, limitBytes) });
  } catch (error) {
    if (error instanceof RangeError) throw tooLarge(step, database, limitBytes);
    throw protocolError(step, 'the copy did not arrive whole', []);
  }
}
