import type { ChildProcess } from 'node:child_process';
import { setTimeout as pause } from 'node:timers/promises';
import type { Machine } from '../../sandbox/machine.ts';
import { type Inputs, inputsFor } from '../../test/host/lib/inputs.ts';
import { type BundleRun, runBundle } from '../../test/lib/bundle.ts';
import type { Release } from './release.ts';

/** How a run ended. */
export type Ended = 'confirmed' | 'rolled-back' | 'failed' | 'gone';

type Step = 'deploy-worker' | 'verify' | 'roll-back';

/** Long enough for a busy machine, and short for a host that waits for a runner that is gone. */
const CONFIRM_SECONDS = 120;

/** The worker's part of deploy.yml: deploy, gate, and rollback if the gate fails. */
export class Pipeline {
  readonly ended: Promise<Ended>;
  readonly #machine: Machine;
  readonly #release: Release;
  readonly #folder: string;
  readonly #verifying = Promise.withResolvers<boolean>();
  #child: ChildProcess | undefined;
  #killed = false;
  /** Output of its steps. */
  log = '';
  /** Milliseconds since 1970. */
  readonly begunAt = Date.now();
  deployedAt = Number.NaN;
  endedAt = Number.NaN;

  /** Starts at once. `folder`: the workflow's clone of the app. */
  constructor(machine: Machine, folder: string, release: Release) {
    this.#machine = machine;
    this.#folder = folder;
    this.#release = release;
    this.ended = this.#run().finally(() => {
      this.endedAt = Date.now();
      this.#verifying.resolve(false);
    });
  }

  /** Whether the gate was reached; resolves as soon as it begins. */
  get verifying(): Promise<boolean> {
    return this.#verifying.promise;
  }

  /** Kills the runner: its process, and all later steps. */
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
        // Traces of the fault in the journal are no fault of the release.
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

/** Throws if it takes too long, so that nothing hangs. */
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
