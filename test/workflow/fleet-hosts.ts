import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import packageJson from '../../package.json' with { type: 'json' };
import { type Machine, startMachine } from '../../sandbox/machine.ts';
import { runWorkflow, type WorkflowOptions, type WorkflowRun } from '../lib/act.ts';

const root = join(import.meta.dirname, '../..');
const repository = packageJson.repository.replace('github:', '');
const home = `${repository}@v${packageJson.version}`;
const reusable = `${repository}/.github/workflows/pipeline.yml@v${packageJson.version}`;

/** All that a repository needs that deploys a fleet. */
const workflow = `
on: workflow_dispatch
permissions: {}
jobs:
  fleet:
    permissions:
      contents: read
    uses: ${reusable}
    with:
      hosts: \${{ vars.HOSTS }}
      dry-run: \${{ vars.DRY_RUN == 'true' }}
    secrets:
      CELERIAC_SSH_KEY: \${{ secrets.CELERIAC_SSH_KEY }}
`;

type Values = Readonly<Record<string, unknown>>;

/** A repository of its own that deploys real hosts by pipeline.yml. */
export class FleetOfMachines {
  readonly machines: ReadonlyMap<string, Machine>;
  readonly #repository = mkdtempSync(join(tmpdir(), 'celeriac-fleet-'));
  readonly #celeriac = mkdtempSync(join(tmpdir(), 'celeriac-used-'));

  private constructor(machines: ReadonlyMap<string, Machine>) {
    this.machines = machines;
    for (const name of ['action.yml', 'actions', '.github/workflows']) {
      cpSync(join(root, name), join(this.#celeriac, name), { recursive: true });
    }
    mkdirSync(join(this.#repository, '.github/workflows'), { recursive: true });
    writeFileSync(join(this.#repository, '.github/workflows/deploy.yml'), workflow);
    execFileSync('git', ['-C', this.#repository, 'init', '--quiet']);
  }

  /** Starts hosts `web1`, `web2`, …, each a machine of its own. */
  static async start(prefix: string, count: number): Promise<FleetOfMachines> {
    const machines = new Map<string, Machine>();
    for (let number = 1; number <= count; number += 1) {
      const machine = await startMachine({ name: `${prefix}-${number}`, state: 'before' });
      machines.set(`web${number}`, machine);
    }
    return new FleetOfMachines(machines);
  }

  /** Deploys; `own` are values of single hosts, by name. */
  async deploy(
    rollout: Values,
    own: Readonly<Record<string, Values>> = {},
    options: Omit<WorkflowOptions, 'repository' | 'uses'> = {},
  ): Promise<WorkflowRun> {
    const hosts = [...this.machines].map(([name, { host, sshPort, knownHosts }]) => [
      name,
      { host, port: sshPort, 'known-hosts': knownHosts, ...own[name] },
    ]);
    // Beside the sections, verify would require them.
    const defaults = { 'confirm-after': 'off', 'deploy-worker': { 'memory-max': 'off' } };
    const file = { defaults, hosts: Object.fromEntries(hosts), rollout };
    writeFileSync(join(this.#repository, '.github/fleet.yml'), stringify(file));
    const git = (...words: string[]) => execFileSync('git', ['-C', this.#repository, ...words]);
    git('add', '.');
    const author = ['-c', 'user.name=a', '-c', 'user.email=a@localhost'];
    git(...author, 'commit', '--quiet', '--allow-empty', '-m', 'deploy');
    const [first] = this.machines.values();
    if (first === undefined) throw new Error('the fleet has no hosts');
    return await runWorkflow('deploy.yml', 'workflow_dispatch', first, {
      ...options,
      variables: { DRY_RUN: '', HOSTS: '', ...options.variables },
      repository: this.#repository,
      uses: { [home]: this.#celeriac },
    });
  }

  /** Cleans up a host by hand, beside whatever else runs. */
  async cleanUp(name: string): Promise<WorkflowRun> {
    const machine = this.machines.get(name);
    if (machine === undefined) throw new Error(`there is no ${name}`);
    const inputs = { 'confirm-after': 'off', 'dry-run': 'false' };
    return await runWorkflow('cleanup.yml', 'workflow_dispatch', machine, { inputs });
  }

  async stop(): Promise<void> {
    for (const folder of [this.#repository, this.#celeriac]) {
      rmSync(folder, { recursive: true, force: true });
    }
    for (const machine of this.machines.values()) await machine.stop();
  }
}

/** What each job wrote down at its end: `web1` → `confirmed`, `untouched`…; the last word counts. */
export function statesOf({ artifacts }: WorkflowRun): Readonly<Record<string, string>> {
  const order = ['begun', 'stopped', 'ended', 'returning', 'back'];
  const records = Object.entries(artifacts)
    .filter(([name]) => name.startsWith('celeriac-leg-'))
    .flatMap(([, files]) => Object.values(files))
    .map((text) => JSON.parse(text) as { host: string; kind: string; state: string });
  records.sort((one, other) => order.indexOf(one.kind) - order.indexOf(other.kind));
  return Object.fromEntries(
    records.map(({ host, kind, state }) => [host, kind === 'begun' ? 'begun' : state]),
  );
}

/** The line of the summary about a host. */
export const endOf = ({ summaries }: WorkflowRun, host: string): string =>
  summaries.flatMap((text) => text.split('\n')).find((line) => line.startsWith(`| ${host} |`)) ??
  '';
