import { type Machine, startMachine } from '../../sandbox/machine.ts';
import { Clone } from '../../test/host/lib/clone.ts';
import {
  haltFlow,
  type Note,
  readNotes,
  readSent,
  resumeFlow,
} from '../../test/host/lib/task-flow.ts';
import {
  listTransactions,
  readTransaction,
  type Transaction,
  waitUntil,
} from '../../test/host/lib/worker.ts';
import { judge, judgeRunning, type Tally, tally, type Whole } from './judge.ts';
import { isAtRest, look, type Seen } from './look.ts';
import { type Timeline, timelineOf } from './moment.ts';
import { Pipeline } from './pipeline.ts';
import type { Start } from './random.ts';
import { ageSupportModule, CHECKOUT, makeRelease, prepareHost, type Release } from './release.ts';

/** Tasks per second. */
const PACE = 1.5;
const ENDLESS = 1_000_000;
/** Within this time, the host rolls back an unconfirmed release and finds a dead transaction process. */
const REST_SECONDS = 300;
const DRAIN_SECONDS = 90;

/** A deploy from such a host without a fault. */
interface Model {
  readonly timeline: Timeline;
  readonly unitText: string;
  readonly support: string | null;
}

/** A host with an app and known deploys, for many rounds. */
export class Rig {
  readonly machine: Machine;
  readonly clone: Clone;
  readonly models: Readonly<Record<Start, Model>>;
  #state: Start | 'spoilt';
  #release: number;
  #known: ReadonlySet<number> = new Set();

  private constructor(
    { machine, clone }: { readonly machine: Machine; readonly clone: Clone },
    models: Readonly<Record<Start, Model>>,
    release: number,
  ) {
    this.machine = machine;
    this.clone = clone;
    this.models = models;
    this.#state = 'released';
    this.#release = release;
  }

  /** Deploys from both kinds of start without a fault, to learn what to expect. */
  static async start(name: string): Promise<Rig> {
    const machine = await startMachine({ name, state: 'environment' });
    await prepareHost(machine);
    const clone = await Clone.of(machine, CHECKOUT);
    const fresh = await observe(machine, clone, makeRelease(clone, 1));
    await ageSupportModule(machine);
    const released = await observe(machine, clone, makeRelease(clone, 2));
    return new Rig({ machine, clone }, { fresh, released }, 2);
  }

  async stop(): Promise<void> {
    this.clone[Symbol.dispose]();
    await this.machine.stop();
  }

  /** Brings the host to that state, from its state after the last round if possible. */
  async begin(start: Start): Promise<Seen> {
    if (this.#state === 'spoilt' || (start === 'fresh' && this.#state !== 'fresh')) {
      await this.machine.reset();
      await prepareHost(this.machine);
      this.#known = new Set();
      this.#state = 'fresh';
    }
    if (start === 'released') {
      if (this.#state === 'fresh') await deployQuietly(this.machine, this.clone, this.next());
      await ageSupportModule(this.machine);
    }
    // The next round reuses the host only if this one ends well.
    this.#state = 'spoilt';
    return await look(this.machine);
  }

  /** The next round may start from here. */
  keep(state: Start, lost: readonly number[]): void {
    this.#state = state;
    this.#known = new Set([...this.#known, ...lost]);
  }

  next(): Release {
    this.#release += 1;
    return makeRelease(this.clone, this.#release);
  }

  /** The state of the host with this release. */
  expect(start: Start, { name, commit, version, memoryMax }: Release): Whole {
    const { unitText, support } = this.models[start];
    const limits = /^MemoryMax=.*$/m;
    const text = unitText.replace(limits, `MemoryMax=${memoryMax}`);
    return { name, unitText: text, support, commit, version };
  }

  async tally(sent: number, first: number, seen: Seen): Promise<Tally> {
    const notes = await readNotes(this.machine);
    return tally({ sent, notes, known: this.#known, first }, seen);
  }
}

/** The state of a host that is in order. */
export async function wholeOf(machine: Machine, seen: Seen): Promise<Whole> {
  const { unitText, support, commit, versions } = seen;
  const { stdout } = await machine.run(
    `sed -n "s/^RELEASE = '\\(.*\\)'/\\1/p" ${CHECKOUT}/backend/numbered.py`,
  );
  return { name: stdout.trim(), unitText, support, commit, version: versions.join() };
}

/** Starts the sender; returns how many tasks were sent before. */
export async function beginTasks(machine: Machine): Promise<number> {
  const first = await readSent(machine);
  await resumeFlow(machine, ENDLESS, PACE);
  await waitUntil('tasks flow', async () => (await readSent(machine)) > first + 1, 60);
  return first;
}

export const feedAgain = (machine: Machine): Promise<void> => resumeFlow(machine, ENDLESS, PACE);

/** Waits until nothing runs on the host any more. */
export async function rest(machine: Machine): Promise<void> {
  let seen: Seen | undefined;
  const holds = async () => {
    seen = await look(machine, 'soon');
    return isAtRest(seen);
  };
  await waitUntil('the host is at rest', holds, REST_SECONDS).catch((error: Error) => {
    const { armed, locked, jobs, active, show } = seen as Seen;
    throw new Error(`${error.message}: ${JSON.stringify({ armed, locked, jobs, active, show })}`);
  });
}

/** Stops the sender and waits for its tasks, as long as a worker takes them. */
export async function endTasks(
  machine: Machine,
): Promise<{ readonly sent: number; readonly seen: Seen; readonly notes: readonly Note[] }> {
  const sent = await haltFlow(machine);
  // After minutes without a worker, what waits takes minutes: Celery fetches a task or two a second.
  for (let before = Number.POSITIVE_INFINITY, left = sent + 1; 0 < left && left < before; ) {
    before = left;
    const idle = async () => {
      left = (await look(machine, 'soon')).queued.length;
      return left === 0;
    };
    await waitUntil('the queue is empty', idle, DRAIN_SECONDS).catch(() => {});
  }
  const over = async () => (await look(machine, 'soon')).unacked.length === 0;
  await waitUntil('the last task has ended', over, 10).catch(() => {});
  return { sent, seen: await look(machine), notes: await readNotes(machine) };
}

/** One deploy without a fault, judged like all others, with the durations of its parts. */
async function observe(machine: Machine, clone: Clone, release: Release): Promise<Model> {
  const before = await look(machine);
  const old = await wholeOf(machine, before);
  const first = await beginTasks(machine);
  const run = await deployQuietly(machine, clone, release);
  await rest(machine);
  const { sent, seen, notes } = await endTasks(machine);
  const { unitText, support } = seen;
  const { commit, version, name } = release;
  const whole: Whole = { name, unitText, support, commit, version };
  const tasks = tally({ sent, notes, known: new Set(), first }, seen);
  const { wrong } = judge(null, before, seen, [old, whole], tasks);
  const all = [...wrong, ...judgeRunning(notes, whole)];
  if (all.length > 0) throw new Error(`without a fault: ${all.join('\n')}`);
  const { plan, journal } = await readDeploy(machine);
  const ops = plan.operations.map(({ op }) => op);
  const [begun, deployed, verified] = [run.begunAt, run.deployedAt, run.endedAt].map(
    (time) => time / 1000,
  ) as [number, number, number];
  return { timeline: timelineOf(ops, journal, { begun, deployed, verified }), unitText, support };
}

/** The newest deploy; it may have been followed by the transaction that settles abandoned jobs. */
async function readDeploy(machine: Machine): Promise<Transaction> {
  for (const id of (await listTransactions(machine)).toReversed()) {
    const found = await readTransaction(machine, id);
    if (found.plan.meta.action === 'deploy-worker') return found;
  }
  throw new Error('there is no deploy');
}

async function deployQuietly(machine: Machine, clone: Clone, release: Release): Promise<Pipeline> {
  const run = new Pipeline(machine, clone.folder, release);
  const ended = await run.ended;
  if (ended !== 'confirmed') throw new Error(`without a fault it ended ${ended}:\n${run.log}`);
  return run;
}
