import { expect } from 'vitest';
import { type Machine, type Need, startMachine } from '../../../sandbox/machine.ts';
import { type BundleOptions, type BundleRun, runBundle } from '../../lib/bundle.ts';
import { Clone } from './clone.ts';
import { heldJobsFiles } from './held-jobs.ts';
import { type Inputs, inputsFor } from './inputs.ts';
import { expectOneError } from './one-error.ts';
import { completeJob, shell, show, UNIT_PATH } from './worker.ts';

const CHECKOUT = '/root/slideshow';

/** A host with a good release deployed from git, and commits after it that are not so good. */
export class BadReleases implements AsyncDisposable {
  readonly machine: Machine;
  readonly #clone: Clone;
  /** What is deployed: the commit, and the unit's text. */
  #good = '';
  #unit = '';

  private constructor(machine: Machine, clone: Clone) {
    this.machine = machine;
    this.#clone = clone;
  }

  static async start(name: string, needs: readonly Need[] = []): Promise<BadReleases> {
    const machine = await startMachine({ name, state: 'healthy', needs });
    return new BadReleases(machine, await Clone.of(machine, CHECKOUT));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#clone[Symbol.dispose]();
    await this.machine.stop();
  }

  get unit(): string {
    return this.#unit;
  }

  /** The host as it was, and the good release on it. */
  async reset(): Promise<void> {
    await this.machine.reset();
    this.#clone.git('reset', '-q', '--hard', 'origin/main');
    const config = this.#clone.read('backend/celery_config.py');
    const files = Object.entries(heldJobsFiles(config));
    this.#good = this.#clone.commit(
      'Held jobs',
      Object.fromEntries(files.map(([path, text]) => [`backend/${path}`, text])),
    );
    const run = await this.deploy();
    expect(run.code, run.log).toBe(0);
    this.#unit = await this.machine.readFile(UNIT_PATH);
  }

  /** Deploys the newest commit. */
  deploy(inputs: Inputs = {}, options: BundleOptions = {}): Promise<BundleRun> {
    const asked = {
      concurrency: '1',
      'min-healthy-time': '2s',
      'confirm-within': 'off',
      'memory-max': '300M',
      'memory-high': 'off',
      source: 'git',
      ...inputs,
    };
    const commit = this.#clone.git('rev-parse', 'HEAD');
    return runBundle('deploy-worker', inputsFor(this.machine, asked), {
      ...options,
      env: { GITHUB_WORKSPACE: this.#clone.folder, GITHUB_SHA: commit },
    });
  }

  /** Commits an app whose worker does this in a thread once it is ready. */
  commitThread(subject: string, body: readonly string[]): void {
    const text = [
      this.#clone.read('backend/celery_app.py'),
      'import os, sys, threading, time',
      'from celery import signals',
      'def misbehave(**_):',
      '    def run():',
      ...body.map((line) => `        ${line}`),
      '    threading.Thread(target=run, daemon=True).start()',
      'signals.worker_ready.connect(misbehave, weak=False)',
      '',
    ].join('\n');
    this.#clone.commit(subject, { 'backend/celery_app.py': text });
  }

  /** The run failed for this reason, and the good release is back. */
  async expectGoodServes(run: BundleRun, reason: RegExp): Promise<void> {
    const { machine } = this;
    expectOneError(run);
    expect(run.log).toMatch(reason);
    expect(await machine.readFile(UNIT_PATH)).toBe(this.#unit);
    expect(await shell(machine, `git -C ${CHECKOUT} rev-parse HEAD`)).toBe(this.#good);
    expect(await show(machine, 'ActiveState', 'NeedDaemonReload')).toEqual({
      ActiveState: 'active',
      NeedDaemonReload: 'no',
    });
    await completeJob(machine);
  }
}
