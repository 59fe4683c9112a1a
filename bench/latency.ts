import { spawn } from 'node:child_process';
import { type Machine, startMachine } from '../sandbox/machine.ts';
import type { ActionName } from '../src/config/action-inputs.ts';
import { type Inputs, inputsFor, taskListLimits } from '../test/host/lib/inputs.ts';
import { type BundleRun, runBundle } from '../test/lib/bundle.ts';
import { openDelayProxy } from './delay-proxy.ts';
import { readOptions } from './options.ts';

/*
 * Runs that change nothing, and a plain `ssh host true`, in turns, at several distances of the host:
 * medians, and their ratio to ssh. `npm run bench:latency -- --rounds 7 --delays 0,30,100`
 * `--before FOLDER`: the bundles of another checkout beside them; `--slow-start`: bytes also wait for
 * acknowledgements, as in a fresh TCP connection.
 */

const { values } = readOptions({
  options: {
    rounds: { type: 'string', default: '7' },
    // Milliseconds there and back.
    delays: { type: 'string', default: '0,30,100' },
    before: { type: 'string' },
    'slow-start': { type: 'boolean', default: false },
  },
});
const rounds = Number(values.rounds);
const delays = values.delays.split(',').map(Number);
if (!Number.isInteger(rounds) || rounds < 1) throw new Error('--rounds: expected 1 or more');
if (!delays.every((delay) => delay >= 0)) throw new Error('--delays: expected milliseconds');

const runs: Readonly<Partial<Record<ActionName, Inputs>>> = {
  provision: { 'swap-size': '256M' },
  'deploy-worker': { ...taskListLimits, 'min-healthy-time': '1s' },
  verify: { gate: 'none' },
};

interface Subject {
  readonly name: string;
  /** Seconds. */
  run(port: number): Promise<number>;
}

await using machine = await startMachine({ name: 'bench-latency', state: 'healthy' });
const subjects = listSubjects(machine);
for (const name of Object.keys(runs) as ActionName[]) await converge(name);
for (const milliseconds of delays) await measure(milliseconds);

function listSubjects(host: Machine): readonly Subject[] {
  const roots = [values.before, undefined].filter(
    (root, index) => index === 1 || root !== undefined,
  );
  const actions = (Object.keys(runs) as ActionName[]).flatMap((name) =>
    roots.map((root) => ({
      name: root === undefined ? name : `${name}, before`,
      run: (port: number) => runUnchanged(name, port, root),
    })),
  );
  return [{ name: 'ssh host true', run: (port) => runSsh(host, port) }, ...actions];
}

async function measure(milliseconds: number): Promise<void> {
  const distance = { milliseconds, slowStart: values['slow-start'] };
  const place = { host: machine.host, port: machine.sshPort };
  await using proxy = milliseconds === 0 ? null : await openDelayProxy(place, distance);
  const port = proxy?.port ?? machine.sshPort;
  const found = new Map<string, number[]>(subjects.map(({ name }) => [name, []]));
  for (let round = 0; round < rounds; round += 1) {
    for (const { name, run } of subjects) found.get(name)?.push(await run(port));
  }
  const ssh = median(found.get('ssh host true') ?? []);
  console.log(`\n${milliseconds} ms there and back, median of ${rounds}`);
  for (const [name, seconds] of found) {
    const middle = median(seconds);
    const cells = [`${middle.toFixed(2)} s`, `${(middle / ssh).toFixed(2)} x`];
    const least = `least ${Math.min(...seconds).toFixed(2)} s`;
    console.log(`  ${name.padEnd(24)} ${cells.join('  ')}  ${least}`);
  }
}

/** Seconds of a run that changes nothing: the bundles of the other checkout may have changed the host. */
async function runUnchanged(name: ActionName, port: number, root?: string): Promise<number> {
  for (let tries = 0; tries < 3; tries += 1) {
    const { outputs, seconds } = await runAction(name, port, root);
    if (outputs.changed !== 'true') return seconds;
  }
  throw new Error(`${name} still changes the host`);
}

/** Through a port of this machine: keys are pinned for that port. */
async function runAction(
  name: ActionName,
  port: number,
  root?: string,
): Promise<BundleRun & { readonly seconds: number }> {
  const begun = performance.now();
  const inputs = { ...inputsFor(machine), ...runs[name], port: `${port}`, ...pinsFor(port) };
  const run = await runBundle(name, { ...inputs, host: hostOf(port) }, root ? { root } : {});
  const seconds = (performance.now() - begun) / 1000;
  if (run.code !== 0) {
    const log = run.log.replace(/^::add-mask::.*\n/gm, '');
    throw new Error(`${name} failed with exit code ${run.code}:\n${log}`);
  }
  return { ...run, seconds };
}

function hostOf(port: number): string {
  return port === machine.sshPort ? machine.host : '127.0.0.1';
}

function pinsFor(port: number): { readonly 'known-hosts': string } {
  const name = port === 22 ? hostOf(port) : `[${hostOf(port)}]:${port}`;
  const lines = machine.knownHosts.trim().split('\n');
  return { 'known-hosts': lines.map((line) => line.replace(/^\S+/, name)).join('\n') };
}

/** Runs it until there is nothing left to do. */
async function converge(name: ActionName): Promise<void> {
  for (let tries = 0; tries < 3; tries += 1) {
    const { outputs } = await runAction(name, machine.sshPort);
    if (outputs.changed !== 'true') return;
  }
  throw new Error(`${name} still changes the host`);
}

/** A new connection, with OpenSSH's defaults. */
async function runSsh(host: Machine, port: number): Promise<number> {
  const options = {
    Port: port,
    IdentityFile: host.keyPath,
    IdentitiesOnly: 'yes',
    UserKnownHostsFile: host.knownHostsPath,
    GlobalKnownHostsFile: '/dev/null',
    HostKeyAlias: host.knownName,
    BatchMode: 'yes',
    LogLevel: 'ERROR',
  };
  const flags = Object.entries(options).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
  const begun = performance.now();
  const words = ['-F', '/dev/null', ...flags, `root@${hostOf(port)}`, 'true'];
  const child = spawn('ssh', words, { stdio: 'inherit' });
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject).on('close', resolve);
  });
  if (code !== 0) throw new Error(`ssh failed with exit code ${code}`);
  return (performance.now() - begun) / 1000;
}

function median(numbers: readonly number[]): number {
  const sorted = numbers.toSorted((a, b) => a - b);
  const half = Math.floor(sorted.length / 2);
  const upper = sorted[half] ?? 0;
  return sorted.length % 2 === 1 ? upper : ((sorted[half - 1] ?? upper) + upper) / 2;
}
