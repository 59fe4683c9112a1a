import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Machine, startMachine } from '../sandbox/machine.ts';
import { readOptions } from './options.ts';
import { type ReachedHost, ReachedHosts } from './peers/hosts.ts';
import { providePeers } from './peers/programs.ts';
import { readState, withoutImport } from './peers/state.ts';
import {
  ansible,
  celeriacFleet,
  deployWorker,
  pyinfra,
  runDeployWorker,
  type Subject,
  ssh,
} from './peers/subjects.ts';
import { compare, type Measured } from './peers/table.ts';
import { spentByChildren } from './time-process.ts';

/*
 * The same worker, with nothing to change about it: its unit file and support module, enabled, running,
 * limits read, processes counted. By Celeriac, pyinfra and Ansible, in turns, in one run; the medians.
 * Celeriac imports the app only where the worker does not say itself that it takes its messages, and to
 * verify: so pyinfra is also measured with an import. Nothing is asserted but that nothing changes.
 * `npm run bench:peers -- --rounds 3 --rtt 0,30,100`; `-- --hosts 10` for a fleet.
 */

const { values } = readOptions({
  options: {
    rounds: { type: 'string', default: '3' },
    hosts: { type: 'string', default: '1' },
    // Round trip to a host, in milliseconds; 0: without the proxy that delays.
    rtt: { type: 'string' },
  },
});

async function main(): Promise<void> {
  const rounds = positive('--rounds', values.rounds);
  const count = positive('--hosts', values.hosts);
  const distances = (values.rtt ?? (count > 1 ? '0' : '0,30,100')).split(',').map(Number);
  if (distances.some((each) => !(each >= 0))) throw new Error('--rtt: expected milliseconds');
  const folder = mkdtempSync(join(tmpdir(), 'bench-peers-'));
  const machines: Machine[] = [];
  try {
    for (let number = 1; number <= count; number += 1) {
      const name = `bench-peers-${number}`;
      machines.push(await startMachine({ name, state: 'healthy', kind: 'container' }));
    }
    const subjects = await prepare(machines, folder);
    console.log(`${cpus().length} × ${cpus()[0]?.model}, Node.js ${process.versions.node}`);
    for (const distance of distances) {
      await using reached = await ReachedHosts.reach(machines, distance, folder);
      const measured = await measure(subjects, reached.hosts, rounds);
      const where = count === 1 ? 'one host' : `${count} hosts`;
      console.log(`\n${where}, ${distance} ms round trip, ${rounds} rounds`);
      for (const { name, about } of subjects) console.log(`  ${name}: ${about}`);
      // Celeriac comes second.
      for (const line of compare(measured, measured[1]?.name ?? '')) console.log(line);
    }
  } finally {
    for (const machine of machines) await machine.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Deploys the worker, and returns what is measured; Celeriac comes second, after the bare connection. */
async function prepare(machines: readonly Machine[], folder: string): Promise<readonly Subject[]> {
  {
    await using reached = await ReachedHosts.reach(machines, 0, folder);
    await Promise.all(reached.hosts.map((host) => runDeployWorker(host, { changes: true })));
  }
  const fleet = [celeriacFleet(folder, { look: true }), celeriacFleet(folder)];
  const own = machines.length === 1 ? [deployWorker] : [...fleet, deployWorker];
  const peers = providePeers();
  if (peers === null) {
    console.log('skipped: pyinfra and Ansible, which could not be installed');
    return [ssh, ...own];
  }
  const { state, texts } = await readState(machines[0] as Machine);
  for (const [name, text] of Object.entries(texts)) writeFileSync(join(folder, name), text);
  const looked = withoutImport(state);
  return [
    ssh,
    ...own,
    pyinfra(peers, looked, folder),
    pyinfra(peers, state, folder, { imports: true }),
    ansible(peers, looked, folder),
  ];
}

/** In turns, so that what else the machine does is no advantage of one of them; the first turn is lost. */
async function measure(
  subjects: readonly Subject[],
  hosts: readonly ReachedHost[],
  rounds: number,
): Promise<readonly Measured[]> {
  const measured = subjects.map(({ name }) => ({
    name,
    seconds: [] as number[],
    processor: [] as number[],
  }));
  for (let round = 0; round <= rounds; round += 1) {
    for (const [index, subject] of subjects.entries()) {
      const before = spentByChildren();
      const seconds = await subject.measure(hosts);
      if (round === 0) continue;
      measured[index]?.seconds.push(seconds);
      measured[index]?.processor.push(spentByChildren() - before);
    }
  }
  return measured;
}

function positive(name: string, text: string): number {
  const number = Number(text);
  if (!Number.isInteger(number) || number < 1) throw new Error(`${name}: expected 1 or more`);
  return number;
}

await main();
