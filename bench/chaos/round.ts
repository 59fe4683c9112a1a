import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { Note } from '../../test/host/lib/task-flow.ts';
import { brace, strike, unbrace } from './faults.ts';
import { judge, judgeRunning, type Tally, type Whole } from './judge.ts';
import { look, type Seen } from './look.ts';
import { type Moment, momentOf, type Timeline, tellMoment, Watch } from './moment.ts';
import { Pipeline, within } from './pipeline.ts';
import type { Draw } from './random.ts';
import { beginTasks, endTasks, feedAgain, type Rig, rest, wholeOf } from './rig.ts';

export interface Result {
  readonly draw: Draw;
  readonly moment: string;
  /** What the fault hit. */
  readonly hit: string;
  /** How the run ended, if the runner survived. */
  readonly told: string;
  /** `old` or `new`, or the release of a second run. */
  readonly ending: string;
  readonly wrong: readonly string[];
  /** Faults of other programs. */
  readonly remarks: readonly string[];
  readonly tasks: Tally | null;
  readonly seconds: number;
}

/** The longest wait of a deploy, plus its gate and its rollback. */
const RUN_SECONDS = 900;

/** One fault in the middle of one deploy, and the state of the host after it. */
export async function playRound(rig: Rig, draw: Draw, evidence: string): Promise<Result> {
  const begun = performance.now();
  const seconds = () => Math.round((performance.now() - begun) / 1000);
  const round = new Round(rig, draw);
  try {
    const result = { ...(await round.play()), draw, seconds: seconds() };
    if (result.wrong.length > 0) await round.keepEvidence(evidence);
    return result;
  } catch (error) {
    const wrong = [error instanceof Error ? error.message : String(error)];
    await round.keepEvidence(evidence).catch((reason: Error) => wrong.push(reason.message));
    const { moment, hit, told } = round;
    return {
      draw,
      moment,
      hit,
      told,
      ending: '?',
      wrong,
      remarks: [],
      tasks: null,
      seconds: seconds(),
    };
  }
}

class Round {
  readonly #rig: Rig;
  readonly #draw: Draw;
  readonly #runs: Pipeline[] = [];
  readonly #seen: Seen[] = [];
  moment = '';
  hit = 'not yet';
  told = 'not yet';

  constructor(rig: Rig, draw: Draw) {
    this.#rig = rig;
    this.#draw = draw;
  }

  async play(): Promise<Omit<Result, 'draw' | 'seconds'>> {
    const { machine } = this.#rig;
    const { fault, start } = this.#draw;
    const before = await this.#rig.begin(start);
    this.#seen.push(before);
    const old = await wholeOf(machine, before);
    await brace(machine, fault);
    const first = await beginTasks(machine);
    const wholes = await this.#deploy(old, Object.keys(before.transactions));
    await rest(machine);
    const { sent, notes } = await endTasks(machine);
    await unbrace(machine, fault);
    const seen = await look(machine);
    this.#seen.push(seen);
    const tasks = await this.#rig.tally(sent, first, seen);
    const { ending, wrong } = judge(fault, before, seen, wholes, tasks);
    const whole = wholes.find(({ name }) => name === ending);
    const stuck = this.#judgeServing(seen, notes, whole);
    const all = [...wrong, ...stuck.wrong];
    if (all.length === 0 && stuck.remarks.length === 0) {
      const state = ending === '0' ? 'fresh' : 'released';
      this.#rig.keep(state, [...tasks.lost, ...tasks.cut]);
    }
    const { moment, hit, told } = this;
    const name = whole === old ? 'old' : whole === wholes[1] ? 'new' : 'second';
    return {
      ...{ moment, hit, told, tasks },
      ending: whole === undefined ? 'neither' : name,
      wrong: all,
      remarks: stuck.remarks,
    };
  }

  /** Returns the acceptable states of the host after it. */
  async #deploy(old: Whole, known: readonly string[]): Promise<readonly Whole[]> {
    const { machine, clone } = this.#rig;
    const { start } = this.#draw;
    const wholes = [old];
    const deploy = (): Pipeline => {
      const release = this.#rig.next();
      wholes.push(this.#rig.expect(start, release));
      const run = new Pipeline(machine, clone.folder, release);
      this.#runs.push(run);
      return run;
    };
    const moment = this.#chooseMoment();
    this.moment = tellMoment(moment);
    const watch = moment.part.index === null ? undefined : new Watch(machine, moment.part, known);
    const run = deploy();
    const reached = await reach(moment, run, watch);
    const hit = await strike(this.#draw, {
      machine,
      run,
      deployAgain: deploy,
      feedAgain: () => feedAgain(machine),
    });
    this.hit = reached ? hit : `${hit}, after all`;
    this.told = await within(RUN_SECONDS, 'the run has ended', run.ended);
    await watch?.end();
    return wholes;
  }

  #chooseMoment(): Moment {
    const { timeline } = this.#rig.models[this.#draw.start];
    const isWork = ({ name, index }: Timeline[number]) => index !== null && name !== 'leave';
    const possible = this.#draw.fault === 'work-killed' ? timeline.filter(isWork) : timeline;
    return momentOf(possible, this.#draw);
  }

  /** Whether the worker runs tasks, with the release that is installed. */
  #judgeServing(
    { queued, unitText, show }: Seen,
    notes: readonly Note[],
    whole: Whole | undefined,
  ): { readonly wrong: readonly string[]; readonly remarks: readonly string[] } {
    if (queued.length > 0) {
      const stuck = `the worker takes no task: ${queued.length} in its queue`;
      // A fault of Celery: after the broker was away, it may never consume again.
      if (this.#draw.fault === 'redis-away') return { wrong: [], remarks: [`${stuck} (Celery)`] };
      const frozen = this.#draw.fault === 'worker-frozen' && !unitText.includes('WatchdogSec=');
      if (frozen) return { wrong: [], remarks: [`${stuck} (frozen, without a watchdog)`] };
      return { wrong: [`${stuck}; ${JSON.stringify(show)}`], remarks: [] };
    }
    return { wrong: whole === undefined ? [] : judgeRunning(notes, whole), remarks: [] };
  }

  /** Saves what people need to find the cause. */
  async keepEvidence(folder: string): Promise<void> {
    const target = join(folder, String(this.#draw.seed));
    mkdirSync(target, { recursive: true });
    this.#runs.forEach((run, index) => {
      writeFileSync(join(target, `run-${index + 1}.log`), run.log);
    });
    writeFileSync(join(target, 'seen.json'), JSON.stringify(this.#seen, null, 1));
    const { stdout } = await this.#rig.machine.run(EVIDENCE, { timeoutSeconds: 120 });
    writeFileSync(join(target, 'host.txt'), stdout);
  }
}

const EVIDENCE = `cd /var/lib/celeriac 2>/dev/null && for each in transactions/*/journal.jsonl releases.jsonl awaiting/* rolling.json; do
  [ -e "$each" ] && echo "--- $each" && cat "$each"; done
journalctl --no-pager -o short-precise -n 400 -u celery-worker -u redis-server -u feed -u 'celeriac-*'
cat /var/tmp/numbered/log | tail -n 400; ls /var/lib/celeriac/transactions/*`;

/** Whether the moment came during the run. */
async function reach(moment: Moment, run: Pipeline, watch: Watch | undefined): Promise<boolean> {
  const over = run.ended.then(() => false);
  const begun = await Promise.race([beginOf(moment, run, watch), over]);
  if (!begun) return false;
  return await Promise.race([pause(moment.afterSeconds * 1000, true), over]);
}

async function beginOf(
  { part }: Moment,
  run: Pipeline,
  watch: Watch | undefined,
): Promise<boolean> {
  if (watch !== undefined) return await watch.seen;
  return part.name === 'connect' ? true : await run.verifying;
}
