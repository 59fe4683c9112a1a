import { createHash } from 'node:crypto';
import {
  type Machine,
  type StartOptions,
  startMachine,
  type User,
} from '../../../sandbox/machine.ts';
import type { HostProgram } from '../../../src/adapters/agent/agent-start.ts';
import { openAgent } from '../../../src/adapters/agent/open-agent.ts';
import { hostProgram } from '../../../src/generated/host-program.ts';
import type { Operation } from '../../../src/model/operation.ts';
import type { Outcome, Progress, Step, TransactionMeta } from '../../../src/model/outcome.ts';
import { type Sha256, seconds, sha256Text } from '../../../src/model/units.ts';
import type { Agent } from '../../../src/ports/agent.ts';

type Plain<Each> = Each extends Operation ? Omit<Each, 'title' | 'why' | 'diff'> : never;
/** An operation without the words for people. */
export type PlainOperation = Plain<Operation>;

export const META: TransactionMeta = {
  action: 'test',
  holder: 'https://example.com/runs/1',
  sha: '0'.repeat(40),
  lockTimeoutSeconds: seconds(60),
};

/** For units that run no worker: nothing can be imported, so nothing is said to one. */
export const noApp = {
  interpreter: ['/bin/false'],
  app: 'none',
  pythonPath: [],
  undoTimeoutSeconds: seconds(600),
} as const;

/** A sandbox host and the real agent on it, over the adapter that the actions use. */
export class Hand implements AsyncDisposable {
  readonly machine: Machine;
  readonly agent: Agent;
  /** Everything that was streamed, oldest first. */
  readonly progress: Progress[] = [];

  private constructor(machine: Machine, agent: Agent) {
    this.machine = machine;
    this.agent = agent;
  }

  static async start(
    name: string,
    options: Omit<StartOptions, 'name'> = {},
    user: User = 'root',
  ): Promise<Hand> {
    return Hand.open(await startMachine({ name, ...options }), user);
  }

  /** @param program another version of the agent */
  static async open(
    machine: Machine,
    user: User = 'root',
    program: HostProgram = hostProgram,
  ): Promise<Hand> {
    const { host, sshPort: port, key, knownHosts } = machine;
    const target = { host, port, user, key, knownHosts };
    const agent = await openAgent({ target, program }, () => {});
    return new Hand(machine, agent);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.agent.close();
  }

  async stop(): Promise<void> {
    await this.agent.close();
    await this.machine.stop();
  }

  apply(
    operations: readonly PlainOperation[],
    meta: Partial<TransactionMeta> = {},
  ): Promise<Outcome> {
    const described = operations.map((each) => ({ title: each.op, why: 'a test asks', ...each }));
    return this.agent.apply(described as Operation[], { ...META, ...meta }, (each) => {
      this.progress.push(each);
    });
  }

  /** Undoes what must be undone wholly. */
  async undo(transaction: string): Promise<Outcome> {
    const outcome = await this.agent.undo([transaction], META, (each) => {
      this.progress.push(each);
    });
    if (outcome.result !== 'undone') throw new Error(JSON.stringify(outcome, null, 1));
    return outcome;
  }

  /** Applies what must succeed. */
  async commit(operations: readonly PlainOperation[]): Promise<Outcome> {
    const outcome = await this.apply(operations);
    if (outcome.result !== 'committed') throw new Error(JSON.stringify(outcome, null, 1));
    return outcome;
  }

  /** Applies what must fail and leave nothing behind; returns the failure. */
  async refuse(operations: readonly PlainOperation[]): Promise<NonNullable<Outcome['failure']>> {
    const outcome = await this.apply(operations);
    if (outcome.result !== 'undone' || outcome.failure === undefined) {
      throw new Error(`expected a failure, all undone: ${JSON.stringify(outcome, null, 1)}`);
    }
    return outcome.failure;
  }

  /** What a shell command prints, without the last line break. */
  async shell(command: string): Promise<string> {
    return (await this.machine.run(command)).stdout.replace(/\n$/, '');
  }

  get notes(): readonly string[] {
    return this.progress.flatMap((each) => (each.kind === 'note' ? [each.message] : []));
  }
}

export const statuses = (outcome: Outcome): readonly Step['status'][] =>
  outcome.steps.map((step) => step.status);

export const messages = (outcome: Outcome): readonly string[] =>
  outcome.steps.map((step) => step.message);

export const sha256 = (text: string): Sha256 =>
  sha256Text(createHash('sha256').update(text).digest('hex'));
