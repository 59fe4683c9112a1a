import { randomUUID } from 'node:crypto';
import { hostEdition } from '../../../../sandbox/edition.ts';
import { type Machine, startMachine } from '../../../../sandbox/machine.ts';
import type { ActionName } from '../../../../src/config/action-inputs.ts';
import { type BundleRun, runBundle } from '../../../lib/bundle.ts';
import { Clone } from '../clone.ts';
import { type Inputs, inputsFor } from '../inputs.ts';
import { isReady, shell, UNIT, UNIT_PATH, waitUntil } from '../worker.ts';
import { type App, installApp, runJob, runPython } from './apps.ts';
import { type Row, STEPS, type StepName, type Tried, type Versions } from './rows.ts';

/** Tries Celeriac on a row's host as its user would; what each step leaves is judged over plain SSH. */
export async function tryRow(row: Row, name: string): Promise<Tried> {
  const edition = hostEdition(row.suite);
  await using machine = await startMachine({ name, edition, say: () => {} });
  const app = await installApp(machine, row);
  const versions = await readVersions(machine, app, row);
  await waitUntil('the worker is ready', () => isReady(machine), 60);
  await runJob(machine, app);
  using clone = await Clone.of(machine, app.checkout, app.user);
  const steps = new Steps(machine, row, app, clone);
  const told: Partial<Record<StepName, string>> = {};
  for (const step of STEPS) {
    try {
      told[step] = await steps.run(step);
    } catch (error) {
      return { versions, steps: told, failed: { step, why: (error as Error).message } };
    }
  }
  return { versions, steps: told };
}

async function readVersions(machine: Machine, app: App, row: Row): Promise<Versions> {
  const broker =
    row.broker === 'redis'
      ? "redis-server --version | sed -E 's/.* v=([0-9.]+).*/Redis \\1/'"
      : "dpkg-query -W -f 'RabbitMQ ${Version}' rabbitmq-server | sed 's/-.*//'; ss -ltn | grep -q ':15672 ' && echo ' with its management API' || true";
  return {
    debian: await shell(machine, 'cat /etc/debian_version'),
    systemd: await shell(machine, "systemctl --version | sed -nE '1s/systemd ([0-9]+).*/\\1/p'"),
    broker: (await shell(machine, broker)).replaceAll('\n', ''),
    python: await runPython(machine, app, 'import platform; print(platform.python_version())'),
    celery: await runPython(machine, app, 'import celery; print(celery.__version__)'),
  };
}

/** A run, or what follows it, is not as it should be. */
class Fault extends Error {}

class Steps {
  readonly #machine: Machine;
  readonly #row: Row;
  readonly #app: App;
  readonly #clone: Clone;
  /** What serves: the commit, and the unit's text. */
  #commit = '';
  #unit = '';

  constructor(machine: Machine, row: Row, app: App, clone: Clone) {
    this.#machine = machine;
    this.#row = row;
    this.#app = app;
    this.#clone = clone;
  }

  run(step: StepName): Promise<string> {
    switch (step) {
      case 'provision':
        return this.#provision();
      case 'deploy':
        return this.#firstDeploy();
      case 'no-op':
        return this.#noOp();
      case 'broken release':
        return this.#broken();
      case 'roll-back':
        return this.#rollBack();
      case 'clean-up':
        return this.#cleanUp();
      case 'verify':
        return this.#verify();
    }
  }

  /** A container has no swap of its own: the run says so and goes on. */
  async #provision(): Promise<string> {
    const run = await this.#act('provision', { 'swap-size': '256M' });
    if ((await shell(this.#machine, 'cat /proc/swaps | wc -l')) !== '1') return 'ok';
    expectLog(run, /swap: skipped: this is a container/);
    return 'no swap in a container: said';
  }

  async #firstDeploy(): Promise<string> {
    const { requirements } = this.#app;
    // Other lines than those that the host's commit has: they are installed, and all there already.
    const files = requirements && { 'requirements.txt': `# Pinned.\n${requirements}` };
    this.#clone.commit('One', { 'ONE.md': 'The first release.\n', ...files });
    const run = await this.#deploy({ 'confirm-within': '1h' });
    if (requirements) expectLog(run, /requirements\.txt is installed in /);
    this.#commit = this.#clone.git('rev-parse', 'HEAD');
    this.#unit = await this.#machine.readFile(UNIT_PATH);
    await this.#expectServing();
    const verified = await this.#act('verify');
    expectLog(verified, /^Confirmed: transaction /m);
    return 'ok';
  }

  async #noOp(): Promise<string> {
    const before = await this.#mainProcess();
    const run = await this.#deploy();
    if (run.outputs.changed !== 'false') throw new Fault(`something was changed:\n${run.log}`);
    if ((await this.#mainProcess()) !== before) throw new Fault('the worker was restarted');
    return 'ok';
  }

  /** Imports, starts, and dies once it is ready. */
  async #broken(): Promise<string> {
    const { module } = this.#app;
    const good = this.#clone.read(module);
    const bad = [
      'import os, threading',
      'from celery import signals',
      'def die(**_):',
      '    threading.Timer(0.5, os._exit, [1]).start()',
      'signals.worker_ready.connect(die, weak=False)',
    ];
    this.#clone.commit('Broken', { [module]: `${good}\n${bad.join('\n')}\n` });
    const run = await this.#deploy({}, 1);
    expectLog(run, /^Undone|was undone|undone:/im);
    await this.#expectServing();
    this.#clone.git('reset', '-q', '--hard', this.#commit);
    return 'undone';
  }

  async #rollBack(): Promise<string> {
    const two = this.#clone.commit('Two', { 'TWO.md': 'The second release.\n' });
    await this.#deploy({ 'confirm-within': 'off' });
    const moved = await this.#head();
    if (moved !== two) throw new Fault(`the checkout is at ${moved}, not at ${two}`);
    await this.#act('deploy-worker', { 'roll-back': 'previous' });
    await this.#expectServing();
    return 'ok';
  }

  async #cleanUp(): Promise<string> {
    const { jobs, folder, user } = this.#app;
    if (jobs === null) return 'no jobs';
    const { database, table, task } = jobs;
    const sql = (statement: string): Promise<string> =>
      shell(
        this.#machine,
        `cd ${folder} && runuser -u ${user} -- sqlite3 -cmd '.timeout 10000' ${database} "${statement}"`,
      );
    const id = table === 'jobs' ? `'${randomUUID()}'` : '4711';
    const title = table === 'jobs' ? ['', ''] : ['title, ', "'Stuck', "];
    const long = "'2026-01-16 14:21:07'";
    await sql(
      `INSERT INTO ${table} (id, ${title[0]}status, ${task}, created_at, started_at) VALUES (${id}, ${title[1]}'processing', '${randomUUID()}', ${long}, ${long})`,
    );
    const isStuck = async (): Promise<boolean> =>
      (await sql(`SELECT status FROM ${table} WHERE id = ${id}`)) === 'processing';
    if (this.#row.broker === 'rabbitmq') await this.#leaveWhileAMessageWaits(database, isStuck);
    const run = await this.#act('cleanup', { database, 'confirm-after': '1s' });
    const status = await sql(`SELECT status FROM ${table} WHERE id = ${id}`);
    if (status !== 'failed') throw new Fault(`the stuck row is '${status}':\n${run.log}`);
    const idle = await this.#act('cleanup', { database, 'confirm-after': '1s' });
    if (idle.outputs.changed !== 'false')
      throw new Fault(`a second clean-up changed:\n${idle.log}`);
    return 'ok';
  }

  /** RabbitMQ does not show whose it is: the row is left, with the reason, and the run is green. */
  async #leaveWhileAMessageWaits(database: string, isStuck: () => Promise<boolean>): Promise<void> {
    await shell(this.#machine, `systemctl stop ${UNIT}`);
    await runPython(this.#machine, this.#app, 'import tasks\ntasks.process_job.delay()\n');
    const run = await this.#act('cleanup', { database, 'confirm-after': 'off' });
    if (!(await isStuck())) throw new Fault(`repaired while a message waits:\n${run.log}`);
    expectLog(run, /RabbitMQ reports that 1 message is in its queues, but not which/);
    await shell(this.#machine, `systemctl start ${UNIT}`);
    await runJob(this.#machine, this.#app);
    // What the management API tells is up to 5 s old.
    await shell(this.#machine, 'sleep 6');
  }

  async #verify(): Promise<string> {
    const run = await this.#act(
      'verify',
      this.#app.jobs ? { database: this.#app.jobs.database } : {},
    );
    if (run.outputs.healthy !== 'true') throw new Fault(run.log);
    await this.#expectServing();
    return 'green';
  }

  // --- runs ----------------------------------------------------------------------------------

  #deploy(more: Inputs = {}, code = 0): Promise<BundleRun> {
    const inputs = {
      source: 'git',
      requirements: this.#app.requirements === null ? '' : 'requirements.txt',
      'memory-max': '800M',
      'memory-high': 'off',
      concurrency: '2',
      'longest-task': '30s',
      'min-healthy-time': '3s',
      ...more,
    };
    return this.#act('deploy-worker', inputs, code);
  }

  async #act(action: ActionName, inputs: Inputs = {}, code = 0): Promise<BundleRun> {
    const run = await runBundle(action, inputsFor(this.#machine, inputs, this.#row.login), {
      env: {
        GITHUB_WORKSPACE: this.#clone.folder,
        GITHUB_SHA: this.#clone.git('rev-parse', 'HEAD'),
      },
    });
    const log = run.log.replace(/^::add-mask::.*\n/gm, '');
    if (run.code !== code) throw new Fault(`${action} ended with ${run.code}:\n${log}`);
    return { ...run, log };
  }

  // --- judging -------------------------------------------------------------------------------

  #head(): Promise<string> {
    const { checkout, user } = this.#app;
    return shell(this.#machine, `runuser -u ${user} -- git -C ${checkout} rev-parse HEAD`);
  }

  #mainProcess(): Promise<string> {
    return shell(this.#machine, `systemctl show ${UNIT} -p MainPID --value`);
  }

  /** The released commit and unit are there, the worker is active, and a job is done. */
  async #expectServing(): Promise<void> {
    const machine = this.#machine;
    const state = await shell(machine, `systemctl is-active ${UNIT} || true`);
    if (state !== 'active') throw new Fault(`${UNIT} is ${state}`);
    const head = await this.#head();
    if (head !== this.#commit)
      throw new Fault(`the checkout is at ${head}, not at ${this.#commit}`);
    if ((await machine.readFile(UNIT_PATH)) !== this.#unit) throw new Fault('the unit is another');
    const failed = await shell(machine, 'systemctl --failed --plain --no-legend | cut -d" " -f1');
    if (failed !== '') throw new Fault(`failed units: ${failed}`);
    await runJob(machine, this.#app);
  }
}

function expectLog(run: BundleRun, pattern: RegExp): void {
  if (!pattern.test(run.log)) throw new Fault(`expected ${pattern} in:\n${run.log}`);
}
