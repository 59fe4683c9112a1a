import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { stringify } from 'yaml';
import { runBundle } from '../../test/lib/bundle.ts';
import { timeProcess } from '../time-process.ts';
import { sshOptions, timeSsh } from '../time-ssh.ts';
import type { ReachedHost } from './hosts.ts';
import type { Peers } from './programs.ts';
import type { WorkerState } from './state.ts';

/** A program that looks at hosts on which nothing is to change. */
export interface Subject {
  readonly name: string;
  /** What it does, for whoever reads the table. */
  readonly about: string;
  /** Seconds. @throws Error when it failed, or changed something */
  measure(hosts: readonly ReachedHost[]): Promise<number>;
}

/** The settings of the worker, as the inputs of deploy-worker. */
const workerInputs = {
  concurrency: '1',
  'longest-task': '60s',
  'memory-max': '800M',
  'memory-high': '600M',
} as const;

const root = join(import.meta.dirname, '../..');
const here = import.meta.dirname;

/** One connection and one command of OpenSSH for each host, side by side. */
export const ssh: Subject = {
  name: 'ssh host true',
  about: 'logs in, and looks at nothing',
  measure: (hosts) =>
    timed(() => Promise.all(hosts.map((each) => timeSsh({ ...each, host: each.address })))),
};

/** The bundle of the action in a process for each host, side by side. */
export const deployWorker: Subject = {
  name: 'deploy-worker',
  about:
    'looks and plans, a process for each host; nothing to change, so nothing is applied or verified',
  measure: (hosts) => timed(() => Promise.all(hosts.map((each) => runDeployWorker(each)))),
};

/** Deploys the worker to one host; `changes`: it may have something to change. */
export async function runDeployWorker(
  { address, port, key, knownHosts }: ReachedHost,
  { changes = false } = {},
): Promise<void> {
  const { code, log, outputs } = await runBundle('deploy-worker', {
    ...workerInputs,
    host: address,
    port: String(port),
    user: 'root',
    'ssh-key': key,
    'known-hosts': knownHosts,
    // Confirmed by nobody, and not taken back either.
    'confirm-within': 'off',
  });
  const isAsExpected = code === 0 && (changes || outputs.changed === 'false');
  if (!isAsExpected) fail('deploy-worker', code, log.replace(/^::add-mask::.*\n/gm, ''));
}

/**
 * All hosts from one process of the terminal, all at the same time, without a canary. It also verifies
 * each host, without probes; `look`: a dry run, which only looks and plans, as the others do.
 */
export function celeriacFleet(folder: string, { look = false } = {}): Subject {
  const own = freshFolder(folder, look ? 'celeriac-look' : 'celeriac');
  const end = look ? 'untouched; dry run: nothing to change' : 'confirmed; nothing to change';
  return {
    name: look ? 'celeriac deploy --fleet --dry-run' : 'celeriac deploy --fleet',
    about: look
      ? 'looks and plans: also sources, limits, strays, companions; by the worker itself, whether it takes its messages'
      : 'the same, and verifies each host: imports the app, asks worker and broker, reads the journal',
    async measure(hosts) {
      const file = join(own, 'fleet.yml');
      const pins = join(own, 'known_hosts');
      const places = hosts.map(({ name, address: host, port }) => [name, { host, port }]);
      const defaults = {
        user: 'root',
        'deploy-worker': { ...workerInputs, 'confirm-within': 'off' },
        verify: { gate: 'none', database: 'none' },
      };
      writeFileSync(file, stringify({ defaults, hosts: Object.fromEntries(places) }));
      writeFileSync(pins, hosts.map(({ knownHosts }) => knownHosts).join('\n'));
      const [first] = hosts;
      const flags = {
        fleet: file,
        canary: 'none',
        'max-parallel': String(hosts.length),
        'ssh-key-file': first?.keyPath ?? '',
        'known-hosts-file': pins,
        'ssh-config-file': 'none',
      };
      const words = Object.entries(flags).flatMap(([name, value]) => [`--${name}`, value]);
      const program = [join(root, 'cli/dist/index.js'), 'deploy', ...words];
      if (look) program.push('--dry-run');
      const env = { HOME: own, SSH_AUTH_SOCK: '' };
      const run = await timeProcess(process.execPath, program, { cwd: own, env });
      const { code, output } = run;
      const idle = output.split('\n').filter((line) => line.endsWith(end));
      if (code !== 0 || idle.length !== hosts.length) fail(this.name, code, output);
      return run.seconds;
    },
  };
}

/** All hosts from one process, as many at the same time as it wants. */
export function pyinfra(
  peers: Peers,
  state: WorkerState,
  folder: string,
  { imports = false } = {},
): Subject {
  const own = freshFolder(folder, imports ? 'pyinfra-import' : 'pyinfra');
  for (const name of ['inventory.py', 'deploy.py']) copyInto(own, join(here, 'pyinfra', name));
  for (const { source } of state.files) copyInto(own, join(folder, source));
  writeFileSync(join(own, 'state.json'), JSON.stringify(state));
  return {
    name: `pyinfra ${peers.pyinfraVersion}${imports ? ', with import' : ''}`,
    about: imports
      ? 'the same, and imports the app'
      : 'two files, the service enabled and running, limits read, processes counted',
    async measure(hosts) {
      const known = hosts.map(({ name, address, port, keyPath, knownHostsPath }) => [
        name,
        { address, port, key: keyPath, knownHosts: knownHostsPath },
      ]);
      writeFileSync(join(own, 'hosts.json'), JSON.stringify(Object.fromEntries(known)));
      const words = ['-y', 'inventory.py', 'deploy.py'];
      const env = { HOME: own, SSH_AUTH_SOCK: '', NO_COLOR: '1' };
      const run = await timeProcess(peers.pyinfra, words, { cwd: own, env });
      const { code, output } = run;
      if (code !== 0 || !isIdle(output, state, hosts.length)) fail(this.name, code, output);
      return run.seconds;
    },
  };
}

/** Every operation was in order on every host, as the last line says that sums them up. */
function isIdle(output: string, { files }: WorkerState, hosts: number): boolean {
  const all = String(hosts * (files.length + 1));
  const [, total, idle] = /^ *Grand total +(\d+) +- +- +(\d+)/m.exec(output) ?? [];
  return total === all && idle === all;
}

/** A connection kept for each host, pipelined, without facts; as many forks as there are hosts. */
export function ansible(peers: Peers, state: WorkerState, folder: string): Subject {
  const own = freshFolder(folder, 'ansible');
  for (const name of ['ansible.cfg', 'playbook.yml']) copyInto(own, join(here, 'ansible', name));
  for (const { source } of state.files) copyInto(own, join(folder, source));
  writeFileSync(join(own, 'state.json'), JSON.stringify(state));
  return {
    name: `ansible-core ${peers.ansibleVersion}`,
    about: 'the same as pyinfra without the import',
    async measure(hosts) {
      const known = hosts.map((each) => [
        each.name,
        {
          ansible_host: each.address,
          ansible_user: 'root',
          ansible_ssh_common_args: sshOptions({ ...each, host: each.address }).join(' '),
        },
      ]);
      const inventory = { all: { hosts: Object.fromEntries(known) } };
      writeFileSync(join(own, 'inventory.json'), JSON.stringify(inventory));
      // As on a fresh runner: no connection is left of the run before.
      const sockets = mkdtempSync(join(own, 's'));
      const env = {
        HOME: own,
        SSH_AUTH_SOCK: '',
        NO_COLOR: '1',
        ANSIBLE_FORKS: String(hosts.length),
        ANSIBLE_SSH_CONTROL_PATH_DIR: sockets,
      };
      const run = await timeProcess(peers.ansiblePlaybook, ['playbook.yml'], { cwd: own, env });
      for (const socket of readdirSync(sockets)) {
        await timeProcess('ssh', [
          '-F',
          '/dev/null',
          '-S',
          join(sockets, socket),
          '-O',
          'exit',
          '-',
        ]);
      }
      rmSync(sockets, { recursive: true, force: true });
      const { code, output } = run;
      const idle = output.match(/ : ok=3 +changed=0 +unreachable=0 +failed=0 /g) ?? [];
      if (code !== 0 || idle.length !== hosts.length) fail(this.name, code, output);
      return run.seconds;
    },
  };
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const begun = performance.now();
  await work();
  return (performance.now() - begun) / 1000;
}

function freshFolder(folder: string, name: string): string {
  const path = join(folder, name);
  mkdirSync(path);
  return path;
}

const copyInto = (folder: string, file: string): void =>
  copyFileSync(file, join(folder, basename(file)));

function fail(name: string, code: number | null, output: string): never {
  throw new Error(`${name} failed or changed something; exit code ${code}:\n${output}`);
}
