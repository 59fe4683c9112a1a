import type { ChildProcess } from 'node:child_process';
import { setTimeout as pause } from 'node:timers/promises';
import type { Machine } from '../../sandbox/machine.ts';
import { type Inputs, inputsFor } from '../../test/host/lib/inputs.ts';
import { type BundleRun, runBundle } from '../../test/lib/bundle.ts';
import type { Release } from './release.ts';

/** What comes of a run: of its steps the last one, and how it ended. */
export type Ended = 'confirmed' | 'rolled-back' | 'failed' | 'gone';

type Step = 'deploy-worker' | 'verify' | 'roll-back';

/** Long enough for a busy machine, short for a host that waits for a runner that is gone. */
export const CONFIRM_SECONDS = 120;

/** A run of deploy.yml as far as the worker goes: deploy, gate, and back when the gate is red. */
export class Pipeline {
  readonly ended: Promise<Ended>;
  readonly #machine: Machine;
  readonly #release: Release;
  readonly #folder: string;
  readonly #verifying = Promise.withResolvers<boolean>();
  #child: ChildProcess | undefined;
  #killed = false;
  /** What its steps printed. */
  log = '';
  /** Milliseconds since 1970. */
  readonly begunAt = Date.now();
  deployedAt = Number.NaN;
  endedAt = Number.NaN;

  /** Begins at once. `folder`: the clone of the app that the workflow has. */
  constructor(machine: Machine, folder: string, release: Release) {
    this.#machine = machine;
    this.#folder = folder;
    this.#release = release;
    this.ended = this.#run().finally(() => {
      this.endedAt = Date.now();
      this.#verifying.resolve(false);
    });
  }

  /** Whether the gate was reached: tells as soon as it begins. */
  get verifying(): Promise<boolean> {
    return this.#verifying.promise;
  }

  /** The runner is gone: its process, and all the steps that were to come. */
  kill(): void {
    this.#killed = true;
    this.#child?.kill('SIGKILL');
  }

  async #run(): Promise<Ended> {
    const deployed = await this.#step('deploy-worker', {
      ...this.#release.inputs,
      'confirm-within': `${CONFIRM_SECONDS}s`,
      'lock-timeout': '5m',
    });
    this.deployedAt = Date.now();
    if (this.#killed) return 'gone';
    const transaction = deployed.outputs.transaction ?? '';
    if (deployed.code === 0) {
      this.#verifying.resolve(true);
      const verified = await this.#step('verify', {
        'gate-timeout': '100s',
        // What the fault left in the journal is no fault of the release.
        'max-restarts': '3',
      });
      if (this.#killed) return 'gone';
      if (verified.code === 0) return 'confirmed';
    }
    if (transaction === '') return 'failed';
    const back = await this.#step('roll-back', { 'roll-back': transaction });
    if (this.#killed) return 'gone';
    return back.code === 0 ? 'rolled-back' : 'failed';
  }

  async #step(step: Step, inputs: Inputs): Promise<BundleRun> {
    this.log += `--- ${step}\n`;
    const run = await runBundle(
      step === 'roll-back' ? 'deploy-worker' : step,
      inputsFor(this.#machine, inputs),
      {
        env: { GITHUB_WORKSPACE: this.#folder, GITHUB_SHA: this.#release.commit },
        onStart: (child) => {
          this.#child = child;
          if (this.#killed) child.kill('SIGKILL');
        },
        onLog: (text) => {
          this.log += text.replace(/^::add-mask::.*\n/gm, '');
        },
      },
    );
    this.log += `--- ${step}: exit code ${run.code}\n`;
    return run;
  }
}

/** Fails when it does not come in time: nothing may hang for ever. */
export async function within<Result>(
  seconds: number,
  what: string,
  promise: Promise<Result>,
): Promise<Result> {
  const timer = new AbortController();
  const late = pause(seconds * 1000, undefined, { signal: timer.signal }).then(() => {
    throw new Error(`not within ${seconds} s: ${what}`);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    late.catch(() => {});
    timer.abort();
  }
}
