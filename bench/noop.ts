import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type Machine, startMachine } from '../sandbox/machine.ts';
import { openAgent } from '../src/adapters/agent/open-agent.ts';
import { hostProgram } from '../src/generated/host-program.ts';
import { runBundle } from '../test/lib/bundle.ts';
import { readOptions } from './options.ts';
import { alignRows, median } from './table.ts';
import { timeSsh } from './time-ssh.ts';

/*
 * The cost of a run with nothing to do: the provision action and a plain `ssh host true`, in turns,
 * on the same machine. `npm run bench:noop -- --rounds 5`; with `--look`, the agent alone.
 */

interface Cost {
  readonly seconds: number;
  readonly handshakes: number;
  readonly execs: number;
  readonly messages: number;
}

interface Subject {
  readonly name: string;
  run(machine: Machine): Promise<Cost>;
}

const provision: Subject = {
  name: 'provision',
  async run(machine) {
    const begun = performance.now();
    const run = await runBundle('provision', {
      host: machine.host,
      port: String(machine.sshPort),
      user: 'root',
      'ssh-key': machine.key,
      'known-hosts': machine.knownHosts,
      'swap-size': '256M',
    });
    const seconds = (performance.now() - begun) / 1000;
    const cost = /^cost: (\d+) handshakes?, (\d+) execs?, (\d+) messages?/m.exec(run.log);
    if (run.code !== 0 || cost === null) {
      const log = run.log.replace(/^::add-mask::.*\n/gm, '');
      throw new Error(`provision failed with exit code ${run.code}:\n${log}`);
    }
    if (run.outputs.changed !== 'false') throw new NotIdleError(run.log);
    const [handshakes = 0, execs = 0, messages = 0] = cost.slice(1).map(Number);
    return { seconds, handshakes, execs, messages };
  },
};

/** The agent alone, without an action; works without a bundle. */
const look: Subject = {
  name: 'agent look',
  async run({ host, sshPort, key, knownHosts }) {
    const begun = performance.now();
    const target = { host, port: sshPort, user: 'root', key, knownHosts };
    const agent = await openAgent({ target, program: hostProgram }, console.error);
    await agent.look({
      host: {},
      swap: { path: '/swapfile' },
      sysctl: { names: ['vm.swappiness'] },
    });
    await agent.close();
    const { handshakes, execs, messagesSent } = agent.traffic;
    const seconds = (performance.now() - begun) / 1000;
    return { seconds, handshakes, execs, messages: messagesSent };
  },
};

/** The host was not as desired, so this was not a no-op. */
class NotIdleError extends Error {}

async function main(): Promise<void> {
  const { values } = readOptions({
    options: {
      rounds: { type: 'string', default: '5' },
      look: { type: 'boolean', default: false },
    },
  });
  const rounds = Number(values.rounds);
  if (!Number.isInteger(rounds) || rounds < 1) throw new Error('--rounds: expected 1 or more');

  const bundle = join(import.meta.dirname, '../actions/provision/dist/index.js');
  const subject = existsSync(bundle) && !values.look ? provision : look;
  const machine = await startMachine({ name: 'bench-noop' });
  try {
    await converge(subject, machine);
    const rows: (readonly [ssh: number, cost: Cost])[] = [];
    for (let round = 0; round < rounds; round += 1) {
      rows.push([await timeSsh({ ...machine, port: machine.sshPort }), await subject.run(machine)]);
    }
    printTable(subject.name, rows);
  } finally {
    await machine.stop();
  }
}

/** Runs once or twice, until there is nothing left to do. */
async function converge(subject: Subject, machine: Machine): Promise<void> {
  for (let tries = 0; tries < 2; tries += 1) {
    try {
      await subject.run(machine);
      return;
    } catch (error) {
      if (!(error instanceof NotIdleError)) throw error;
    }
  }
  throw new Error(`${subject.name} still changes the host on its second run`);
}

function printTable(name: string, rows: readonly (readonly [number, Cost])[]): void {
  const cells = (label: string, ssh: number, cost: Cost): readonly string[] => [
    label,
    `${ssh.toFixed(2)} s`,
    `${cost.seconds.toFixed(2)} s`,
    (cost.seconds / ssh).toFixed(2),
    String(cost.handshakes),
    String(cost.execs),
    String(cost.messages),
  ];
  const costs = rows.map(([, cost]) => cost);
  const middle: Cost = {
    seconds: median(costs.map((cost) => cost.seconds)),
    handshakes: median(costs.map((cost) => cost.handshakes)),
    execs: median(costs.map((cost) => cost.execs)),
    messages: median(costs.map((cost) => cost.messages)),
  };
  const table = [
    ['round', 'ssh host true', name, 'ratio', 'handshakes', 'execs', 'messages'],
    ...rows.map(([ssh, cost], index) => cells(String(index + 1), ssh, cost)),
    cells('median', median(rows.map(([ssh]) => ssh)), middle),
  ];
  for (const line of alignRows(table)) console.log(line);
}

await main();
