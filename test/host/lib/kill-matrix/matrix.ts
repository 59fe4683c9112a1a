import type { Kind } from '../../../../sandbox/instance.ts';
import { type Machine, type StartOptions, startMachine } from '../../../../sandbox/machine.ts';
import { hostProgram } from '../../../../src/generated/host-program.ts';
import type { Plan } from '../../../../src/model/operation.ts';
import type { Outcome } from '../../../../src/model/outcome.ts';
import { seconds } from '../../../../src/model/units.ts';
import { describePast } from '../../../../src/plan/past.ts';
import type { Agent } from '../../../../src/ports/agent.ts';
import type { Clone } from '../clone.ts';
import { completeJob, type Job, UNIT } from '../worker.ts';
import { type Case, type Ending, nameOf, type Verdict, type Written } from './cases.ts';
import {
  cloneOf,
  connect,
  metaFor,
  planOn,
  prepare,
  readWritten,
  requireOwed,
  withHalt,
  withList,
} from './deploy.ts';
import {
  clearStage,
  fills,
  goesOnAfter,
  makeRoom,
  runnerStays,
  setStage,
  strike,
} from './faults.ts';
import { type Ends, inspect, judge, readJournal, waitForRest } from './inspect.ts';

/** Short: who is gone never confirms. */
const UNCONFIRMED = seconds(3);
/** Who is there has that long to confirm. */
const CONFIRMED = seconds(60);
/** What takes longer on any host, however busy, does not come any more. */
const PATIENCE_SECONDS = 1200;
/** A full disk of a container is memory of this machine. */
const DISK_MEGABYTES = 400;

/** What is found out once for all hosts: they begin alike. */
interface Deploy {
  readonly clone: Clone;
  readonly plan: Plan;
  readonly ends: Ends;
  readonly files: readonly Written[];
}

/** The host did not get as far as the deploy: that tells nothing of Celeriac. */
export class NotRun extends Error {}

/** One host, brought into the same state for each case. */
export class KillMatrix {
  readonly #deploy: Deploy;
  readonly #options: StartOptions;
  readonly #beside: KillMatrix[] = [];
  #machine: Machine;
  #dirty = true;

  private constructor(machine: Machine, options: StartOptions, deploy: Deploy) {
    this.#machine = machine;
    this.#options = options;
    this.#deploy = deploy;
  }

  /** Deploys once without a fault: that is what `new` looks like. */
  static async start(name: string, kind?: Kind): Promise<KillMatrix> {
    const options: StartOptions = {
      name,
      state: 'environment',
      diskMegabytes: DISK_MEGABYTES,
      ...(kind === undefined ? {} : { kind }),
    };
    const machine = await startMachine(options);
    const clone = await cloneOf(machine);
    await prepare(machine);
    const old = await inspect(machine);
    await using agent = await connect(machine, withList());
    const { plan, parcels } = await planOn(agent, clone);
    for (const parcel of parcels) await agent.send(parcel, () => {});
    const files: Written[] = [];
    // As in a case: with a release that awaits its verdict.
    const applied = await agent.apply(plan.operations, metaFor(CONFIRMED), (said) => {
      const file = said.kind === 'note' ? readWritten(said.message) : null;
      if (file !== null) files.push(file);
    });
    const { result, failure, transaction } = applied;
    if (result !== 'committed') throw new Error(`without a fault: ${JSON.stringify(failure)}`);
    if (!(await agent.confirm(UNIT, [transaction], metaFor(null))))
      throw new Error('not confirmed');
    await waitForRest(machine);
    const ends = { old, new: await inspect(machine) };
    return new KillMatrix(machine, options, { clone, plan, ends, files });
  }

  /** Another host of the same kind, for cases side by side; it is stopped with this one. */
  async beside(name: string): Promise<KillMatrix> {
    const options = { ...this.#options, name };
    const machine = await startMachine(options);
    const matrix = new KillMatrix(machine, options, this.#deploy);
    this.#beside.push(matrix);
    return matrix;
  }

  get plan(): Plan {
    return this.#deploy.plan;
  }

  /** What a deploy writes, in this order. */
  get files(): readonly Written[] {
    return this.#deploy.files;
  }

  get kind(): Kind {
    return this.#machine.kind;
  }

  async stop(): Promise<void> {
    for (const matrix of this.#beside) await matrix.stop();
    this.#deploy.clone[Symbol.dispose]();
    await this.#machine.stop();
  }

  /**
   * @throws Error that tells how the host ended neither old nor new, or not whole
   * @throws NotRun
   */
  async run(each: Case): Promise<Verdict> {
    const owed = await this.#makeReady(each).catch((error: Error) => {
      this.#dirty = true;
      throw new NotRun(`${nameOf(each)}: ${error.message}`);
    });
    this.#dirty = true;
    try {
      const verdict = await this.#provoke(each);
      await requireOwed(this.#machine, owed);
      // What ended old is as it was, and good enough for the next one: that is the claim.
      if (verdict.ending === 'old') await clearStage(this.#machine, each.fault);
      this.#dirty = verdict.ending === 'new';
      return verdict;
    } catch (error) {
      throw new Error(`${nameOf(each)}: ${error instanceof Error ? error.message : error}`);
    }
  }

  async #makeReady(each: Case): Promise<Job> {
    const { op, fault } = each;
    // A commit that was fetched stays, and so do the units of the guard and the sampler: to be
    // fetched and written in earnest they need a host without them.
    const stays = op === 'fetch-commit' || op.includes('/celeriac-sampler.');
    if (this.#dirty || stays || this.#isOfAgent(each)) {
      // Whatever became of the host: another one where it can't be given back.
      await this.#machine.reset().catch(async () => {
        this.#machine = await startMachine(this.#options);
      });
    }
    const owed = await prepare(this.#machine);
    await setStage(this.#machine, fault);
    return owed;
  }

  async #provoke(each: Case): Promise<Verdict> {
    const machine = this.#machine;
    const goOnAfter = goesOnAfter(each.fault, machine.kind);
    const runner = await connect(machine, withHalt(each, goOnAfter));
    let told: string;
    try {
      told = await this.#cut(each, runner);
    } finally {
      await runner.close().catch(() => {});
    }
    await waitForRest(machine);
    if (this.#isOfAgent(each)) await this.#runNext();
    // Nobody is at work any more; without room not even a reader can open the app's database.
    if (fills(each.fault)) await makeRoom(machine);
    const found = await inspect(machine);
    const journal = this.#isOfAgent(each) ? '' : await readJournal(machine);
    const ending = judge(each, this.#deploy.ends, found, journal);
    if (found.unit.ActiveState === 'active') await completeJob(machine);
    if (!this.#isBeforePlan(each)) await this.#requireTold(ending, runnerStays(each.fault));
    if (told === 'undo-failed') throw new Error('whole, and the run was told otherwise');
    return { ending, told };
  }

  /** Whether the agent writes it, before the work begins. */
  #isOfAgent({ op }: Case): boolean {
    return this.#deploy.files.some(({ path, by }) => path === op && by === 'agent');
  }

  /** Without a whole plan there is no transaction, so there is nothing to tell. */
  #isBeforePlan({ op, phase, index }: Case): boolean {
    const plan = this.#deploy.files.findIndex(({ path }) => path.endsWith('/plan.json'));
    if (!this.#deploy.files.some(({ path }) => path === op) || index > plan) return false;
    return index < plan || phase !== 'renamed';
  }

  /** Before the guard is armed, the next run tidies up. */
  async #runNext(): Promise<void> {
    await using agent = await connect(this.#machine, hostProgram);
    await agent.recover(metaFor(null), () => {});
    await waitForRest(this.#machine);
  }

  /** A deploy with the fault in it. Returns what the run was told, where it was there to hear it. */
  async #cut(each: Case, runner: Agent): Promise<string> {
    const stays = runnerStays(each.fault);
    const { plan, parcels } = await planOn(runner, this.#deploy.clone);
    for (const parcel of parcels) await runner.send(parcel, () => {});
    const halted = Promise.withResolvers<void>();
    const running = runner.apply(
      plan.operations,
      metaFor(stays ? CONFIRMED : UNCONFIRMED),
      (said) => {
        if (said.kind === 'note' && said.message.startsWith('halted at ')) halted.resolve();
      },
    );
    const ended = running.then(
      (outcome) => outcome,
      () => null,
    );
    const early = ended.then((outcome) => refuseEnd(outcome));
    await bounded('it halts', Promise.race([halted.promise, early]));
    await strike(this.#machine, each.fault, runner);
    const outcome = stays ? await bounded('it ends', ended) : null;
    return outcome === null ? 'gone' : await confirm(runner, outcome);
  }

  /** The next run's report, and the ledger. */
  async #requireTold(ending: Ending, stays: boolean): Promise<void> {
    await using agent = await connect(this.#machine, hostProgram);
    const { operations } = (await planOn(agent, this.#deploy.clone)).plan;
    const { past, transactions, releases } = await agent.look({
      past: {},
      transactions: { unit: UNIT },
      releases: { unit: UNIT },
    });
    const findings = describePast(past, 'works');
    const [newest, release] = [transactions.at(-1), releases.releases.at(-1)];
    const said = JSON.stringify({ findings, newest, releases }, null, 1);
    if (releases.awaiting !== null) throw new Error(`a verdict is still awaited: ${said}`);
    if (newest?.state !== (ending === 'new' ? 'committed' : 'undone')) {
      throw new Error(`ended ${ending}, and the host says otherwise: ${said}`);
    }
    if (ending === 'new') {
      if (release?.verdict !== 'confirmed') throw new Error(`not confirmed: ${said}`);
      if (operations.length > 0) throw new Error(`new, and not as asked: ${said}`);
      return;
    }
    if (release?.transaction === newest.id && release.verdict !== 'rolled-back') {
      throw new Error(`the ledger tells of a release that is gone: ${said}`);
    }
    const tells = findings.some(({ message }) => message.includes('undone by the host itself'));
    if (!stays && !tells) throw new Error(`the next run does not tell: ${said}`);
    await agent.acknowledge(past.untold.map(({ id }) => id));
    const again = (await agent.look({ past: {} })).past.untold;
    if (again.length > 0) throw new Error(`told, and told again: ${JSON.stringify(again)}`);
  }
}

/** What the run was told, once it has confirmed a release that it was told of. */
async function confirm(runner: Agent, { result, transaction }: Outcome): Promise<string> {
  if (result !== 'committed') return result;
  const confirmed = await runner
    .confirm(UNIT, [transaction], metaFor(null))
    .catch((error: Error) => error.message);
  return confirmed === true ? result : `committed, not confirmed: ${confirmed}`;
}

function refuseEnd(outcome: Outcome | null): never {
  throw new Error(`it ended before the fault: ${JSON.stringify(outcome, null, 1)}`);
}

async function bounded<T>(what: string, promise: Promise<T>): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => late.reject(new Error(`not within ${PATIENCE_SECONDS} s: ${what}`)),
    PATIENCE_SECONDS * 1000,
  );
  try {
    return await Promise.race([promise, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}
