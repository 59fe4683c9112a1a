import type { ClockSkew } from '../../model/clock-skew.ts';
import type { HostFact } from '../../model/facts/host.ts';
import type { FactName, FactQuery, FactsFor } from '../../model/facts.ts';
import type { Extract } from '../../model/job-store.ts';
import type { Operation } from '../../model/operation.ts';
import {
  type Deed,
  type Hello,
  type JobReport,
  type JobRequest,
  mayChange,
  type Opened,
  type Outcome,
  type Progress,
  type SnapshotInfo,
  type ToldNotices,
  type TransactionMeta,
} from '../../model/outcome.ts';
import type { Proof, SoakFigures } from '../../model/soak.ts';
import { type Bytes, type Seconds, seconds } from '../../model/units.ts';
import type { Agent, OnProgress, Traffic } from '../../ports/agent.ts';
import type { Parcel } from '../../ports/code.ts';
import type { Clock } from '../clock.ts';
import type { HostConnection } from '../host-connection.ts';
import {
  acknowledgedShape,
  confirmedShape,
  deedsShape,
  jobReportShape,
  outcomeShape,
  recordedShape,
  snapshotShape,
} from '../shapes/answers.ts';
import { LINE_LIMIT_BYTES } from './agent-lines.ts';
import { AgentLink, type FirstAsk, firstLine } from './agent-link.ts';
import type { AgentKind, AgentLimits } from './agent-options.ts';
import {
  type HostProgram,
  packProgram,
  programInput,
  START_STEP,
  startCommand,
} from './agent-start.ts';
import { checkHello, installedCommand } from './installed-agent.ts';
import { readAnswer, readFacts } from './read-answer.ts';
import { sendParcel } from './send-parcel.ts';
import { SnapshotPieces } from './snapshot.ts';

/** A process of the app asks its worker and broker. */
const slow: readonly FactName[] = ['tasks', 'consuming', 'broker', 'unacked'];

const RECONNECT_PAUSE = seconds(2);

/** Everything that is known before the first connection. */
export interface SessionSettings {
  readonly program: HostProgram;
  readonly kind: AgentKind;
  readonly limits: AgentLimits;
  readonly clock: Clock;
  readonly connect: () => Promise<HostConnection>;
  /** Reports what people may want to know while it runs, e.g. a retry. */
  readonly onNote: (message: string) => void;
  readonly first?: FactQuery | undefined;
}

/** One connection with the agent that runs over it. */
interface Started {
  readonly connection: HostConnection;
  readonly link: AgentLink;
  readonly hello: Hello;
  readonly startSeconds: Seconds;
  /** The first question was not answered before. */
  readonly askedAt: Seconds;
}

/** Connects, starts the agent with the first question, sends it if the host asks, and waits for its hello. */
async function startAgent(settings: SessionSettings, first?: FirstAsk): Promise<Started> {
  const { program, kind, limits, clock, connect } = settings;
  const build = kind === 'streamed' ? program.build : null;
  const connection = await connect();
  try {
    const begun = clock.now();
    const { user } = connection.target;
    const asked = first === undefined ? '' : firstLine(first);
    const command = build === null ? installedCommand : startCommand(build, asked !== '', user);
    const input = asked === '' ? undefined : Buffer.from(asked);
    const channel = await connection.exec(command, START_STEP, input);
    const execSeconds = clock.now() - begun;
    const sentAt = clock.epoch();
    const sendProgram =
      build === null ? null : async () => programInput(await packProgram(program), asked);
    const options = { helloLimit: limits.hello, kind, first, sendProgram };
    const link = new AgentLink(connection, channel, options);
    const hello = await link.hello;
    // It was under way for less than the exec, which takes two round trips.
    const askedAt = seconds(Math.max(sentAt, clock.epoch() - execSeconds));
    checkHello(hello, kind, connection.target);
    return { connection, link, hello, startSeconds: seconds(clock.now() - begun), askedAt };
  } catch (error) {
    await connection.close();
    throw error;
  }
}

/** The agent over one connection, and over a new one when that is lost. */
export class AgentSession implements Agent {
  readonly #settings: SessionSettings;
  #now: Started;
  readonly #lost: Started[] = [];
  #closing: Promise<void> | null = null;
  #skew: ClockSkew | null = null;
  /** What was asked with the agent, as JSON; `null`: nothing, or the first look is over. */
  #first: string | null;

  private constructor(start: Started, settings: SessionSettings, first: string | null) {
    this.#now = start;
    this.#settings = settings;
    this.#first = first;
  }

  /** @throws HostError when the agent cannot be started; what `connect` throws */
  static async start(settings: SessionSettings): Promise<AgentSession> {
    const { first: query, limits } = settings;
    const ask = query === undefined ? undefined : lookAsk(query, limits);
    if (ask === undefined || firstLine(ask).length > LINE_LIMIT_BYTES / 4) {
      return new AgentSession(await startAgent(settings), settings, null);
    }
    return new AgentSession(await startAgent(settings, ask), settings, JSON.stringify(query));
  }

  get hello(): Hello {
    return this.#now.hello;
  }

  get traffic(): Traffic {
    const sum = (of: (start: Started) => number) =>
      [...this.#lost, this.#now].reduce((total, start) => total + of(start), 0);
    return {
      handshakes: sum(({ connection }) => connection.handshakes),
      execs: sum(({ connection }) => connection.execs),
      messagesSent: sum(({ link }) => link.sent),
      messagesReceived: sum(({ link }) => link.received),
      connectSeconds: seconds(sum(({ connection }) => connection.connectSeconds)),
      startSeconds: seconds(sum(({ startSeconds }) => startSeconds)),
    };
  }

  get clockSkew(): ClockSkew | null {
    return this.#skew;
  }

  get #link(): AgentLink {
    return this.#now.link;
  }

  async look<const Query extends FactQuery>(query: Query): Promise<FactsFor<Query>> {
    const { message, step, options } = lookAsk(query, this.#settings.limits);
    const first = this.#takeFirst(query);
    const begun = first === null ? this.#settings.clock.epoch() : this.#now.askedAt;
    const answer = await (first ?? this.#link.ask(message, step, options));
    const ended = this.#settings.clock.epoch();
    const facts = readFacts(answer, query, step);
    if ('host' in facts) this.#compareClocks(facts.host as HostFact, begun, ended);
    return facts;
  }

  /** The answer to what was asked with the agent, if that was this. */
  #takeFirst(query: FactQuery): Promise<unknown> | null {
    const asked = this.#first;
    this.#first = null;
    return asked === JSON.stringify(query) ? this.#link.firstAnswer : null;
  }

  /** The host read its clock at some moment in between. */
  #compareClocks({ now }: HostFact, begun: Seconds, ended: Seconds): void {
    const within = seconds((ended - begun) / 2);
    // Somebody set the clock of this machine.
    if (within < 0) return;
    if (this.#skew !== null && this.#skew.within <= within) return;
    this.#skew = { ahead: seconds(now - (begun + ended) / 2), within };
  }

  async send(parcel: Parcel, onProgress: OnProgress): Promise<void> {
    const step = `send ${parcel.title}`;
    const limit = { total: this.#settings.limits.receive };
    const isNew = await sendParcel(parcel, step, (ask) => this.#link.ask(ask, step, limit));
    if (!isNew) return;
    const message = `sent ${parcel.title} (${parcel.sizeBytes} bytes)`;
    onProgress({ kind: 'note', message });
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
    newest?: string,
  ): Promise<Outcome> {
    const step = `undo transaction ${transactions.join(', ')}`;
    const ask = { ask: 'undo', transactions, meta, ...(newest !== undefined && { newest }) };
    return this.#transact(ask, step, onProgress);
  }

  async recover(meta: TransactionMeta, onProgress: OnProgress): Promise<readonly Deed[]> {
    const step = 'recover what an earlier run left unfinished';
    const answer = await this.#link.ask({ ask: 'recover', meta }, step, { onProgress });
    return readAnswer(answer, deedsShape, 'recover', step).deeds;
  }

  async acknowledge(transactions: readonly string[], notices?: ToldNotices): Promise<void> {
    // A key that may only read leaves no record: the next run tells it again.
    if (!mayChange(this.hello)) return;
    const step = 'record what this run has reported';
    const ask = { ask: 'acknowledge', transactions, ...(notices !== undefined && { notices }) };
    const answer = await this.#link.ask(ask, step, {});
    readAnswer(answer, acknowledgedShape, 'acknowledge', step);
  }

  async confirm(
    unit: string,
    transactions: readonly string[],
    meta: TransactionMeta,
    figures?: SoakFigures,
  ): Promise<boolean> {
    const step = `confirm the release of ${unit}`;
    const measured = figures !== undefined && { figures };
    const ask = { ask: 'confirm', unit, transactions, meta, ...measured };
    const answer = await this.#link.ask(ask, step, {});
    return readAnswer(answer, confirmedShape, 'confirm', step).confirmed;
  }

  async prove(proof: Proof, meta: TransactionMeta): Promise<boolean> {
    const step = `record what the soak of ${proof.unit} has shown`;
    const answer = await this.#link.ask({ ask: 'prove', ...proof, meta }, step, {});
    return readAnswer(answer, recordedShape, 'prove', step).recorded;
  }

  async snapshot(
    database: string,
    limitBytes: Bytes,
    extract: Extract,
    user: string,
    onProgress: OnProgress,
  ): Promise<{ readonly info: SnapshotInfo; readonly content: Uint8Array }> {
    const step = `copy ${database}`;
    const pieces = new SnapshotPieces(database, limitBytes, step);
    const question = { ask: 'snapshot', database, limitBytes, extract, user };
    const answer = await this.#link.ask(question, step, {
      silence: this.#settings.limits.snapshotSilence,
      onProgress: (progress) => {
        if (progress.kind === 'chunk') pieces.add(progress.data);
        else onProgress(progress);
      },
    });
    const info = readAnswer(answer, snapshotShape, 'snapshot', step);
    return { info, content: await pieces.unpack(info) };
  }

  async submit(request: JobRequest, onProgress: OnProgress): Promise<JobReport> {
    const step = 'send the probes';
    const total = seconds(
      request.timeoutSeconds * Math.max(1, countJobs(request)) + this.#settings.limits.submitMargin,
    );
    const answer = await this.#link.ask({ ask: 'submit', request }, step, { total, onProgress });
    return readAnswer(answer, jobReportShape, 'submit', step);
  }

  close(): Promise<void> {
    this.#closing ??= this.#leave();
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /**
   * Starts a transaction, which continues on the host when the connection is lost; then reconnects
   * and follows it. There is no time limit: a transaction takes as long as its operations, and
   * keepalives detect a dead link.
   */
  async #transact(message: Question, step: string, onProgress: OnProgress): Promise<Outcome> {
    let opened: Opened | null = null;
    let told = 0;
    let question: Question = message;
    for (;;) {
      // A new connection streams the progress from the beginning.
      let toSkip = told;
      const listen = (progress: Progress): void => {
        if (progress.kind === 'opened') {
          // Whoever is interrupted says what continues.
          if (opened === null) onProgress(progress);
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
        return readAnswer(answer, outcomeShape, question.ask, step);
      } catch (error) {
        if (opened === null || !this.#link.isLost) throw error;
        await this.#reconnect(error);
        question = { ask: 'follow', opened };
      }
    }
  }

  /** @throws `loss` when the host does not come back in time */
  async #reconnect(loss: unknown): Promise<void> {
    const { clock, limits, onNote } = this.#settings;
    const end = clock.now() + limits.reconnect;
    onNote('connection lost; the transaction continues on the host. Reconnecting');
    // When only the agent died, its connection is still open and would keep this process alive.
    this.#now.connection.destroy();
    for (;;) {
      try {
        const next = await startAgent(this.#settings);
        this.#lost.push(this.#now);
        this.#now = next;
        onNote('reconnected: following the transaction on the host');
        return;
      } catch {
        if (clock.now() >= end) throw loss;
        await clock.sleep(RECONNECT_PAUSE);
      }
    }
  }

  async #leave(): Promise<void> {
    const { link, connection } = this.#now;
    link.sayBye();
    await connection.close();
  }
}

function lookAsk(query: FactQuery, { look, lookAtTasks }: AgentLimits): FirstAsk {
  const usual = slow.some((name) => name in query) ? lookAtTasks : look;
  return {
    message: { ask: 'look', query },
    step: `look at ${Object.keys(query).join(', ')}`,
    options: { total: seconds(usual + ownTime(query)) },
  };
}

/** What commands and URLs of the user may take. */
function ownTime({ command, http }: FactQuery): number {
  const probes = http?.probes ?? [];
  return probes.reduce((sum, each) => sum + each.timeoutSeconds, command?.timeoutSeconds ?? 0);
}

/** One message to the agent. */
type Question = Readonly<Record<string, unknown>> & { readonly ask: string };

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
