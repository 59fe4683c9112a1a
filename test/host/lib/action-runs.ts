import { expect } from 'vitest';
import type { Machine, User } from '../../../sandbox/machine.ts';
import type { ActionName } from '../../../src/config/action-inputs.ts';
import { type BundleRun, runBundle } from '../../lib/bundle.ts';
import { type Inputs, inputsFor } from './inputs.ts';
import { countLogins, watchLogins } from './logins.ts';
import { printedPlan, printedStory, storyOf } from './plan-log.ts';
import { readTransaction } from './worker.ts';

export const dryRun = { 'dry-run': 'true' };

/** Actions as their bundles; each run must cost one login and one command. */
export class ActionRuns {
  readonly #machine: Machine;

  private constructor(machine: Machine) {
    this.#machine = machine;
  }

  static async on(machine: Machine): Promise<ActionRuns> {
    await watchLogins(machine);
    return new ActionRuns(machine);
  }

  async act(action: ActionName, inputs: Inputs = {}, user: User = 'root'): Promise<BundleRun> {
    const { result, logins } = await countLogins(this.#machine, user, () =>
      runBundle(action, inputsFor(this.#machine, inputs, user)),
    );
    expect(logins).toEqual({ accepted: 1, commands: 1, failed: 0 });
    expect(result.log).not.toMatch(/^\s+at .*:\d+:\d+\)?$/m);
    return result;
  }

  async succeed(action: ActionName, inputs: Inputs = {}, user: User = 'root'): Promise<BundleRun> {
    const run = await this.act(action, inputs, user);
    expect(run.code, run.log).toBe(0);
    return run;
  }

  /** A dry run, then the same for real: what was shown is what was done, to the letter. */
  async carryOut(
    action: ActionName,
    inputs: Inputs = {},
    user: User = 'root',
    meanwhile: () => Promise<void> = async () => {},
  ): Promise<BundleRun> {
    const rehearsed = await this.succeed(action, { ...inputs, ...dryRun }, user);
    const [run] = await Promise.all([this.succeed(action, inputs, user), meanwhile()]);
    expect(run.outputs.changed).toBe('true');
    expect(printedPlan(run.log)).toBe(printedPlan(rehearsed.log));
    const transaction = await readTransaction(this.#machine, run.outputs.transaction ?? '');
    expect(transaction.plan.meta.action).toBe(action);
    expect(transaction.plan.operations.length).toBeGreaterThan(0);
    expect(storyOf(transaction)).toBe(printedStory(run.log));
    expect(transaction.journal.at(-1)).toMatchObject({ event: 'ended', result: 'committed' });
    return run;
  }
}
