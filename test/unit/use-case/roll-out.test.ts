import { describe, expect, it } from 'vitest';
import type { PlannedRollout } from '../../../src/model/fleet.ts';
import { type DeployEnd, type RolloutWork, rollOut } from '../../../src/use-case/roll-out.ts';

const hosts = (count: number): readonly string[] =>
  Array.from({ length: count }, (_, index) => `web${index + 1}`);

/** Hosts on paper: what was done, in order, and the most at the same time. */
class PaperFleet implements RolloutWork {
  readonly log: string[] = [];
  most = 0;
  failing: ReadonlySet<string> = new Set();
  stuck: ReadonlySet<string> = new Set();
  onDeploy: (host: string) => void = () => {};
  #busy = 0;

  deploy = async (host: string): Promise<DeployEnd> => {
    this.log.push(`deploy ${host}`);
    this.onDeploy(host);
    await this.#work();
    this.log.push(`end ${host}`);
    return this.failing.has(host)
      ? { state: 'rolled-back', failed: true, why: 'its gate failed', transaction: `of-${host}` }
      : { state: 'confirmed', failed: false, why: '', transaction: `of-${host}` };
  };

  rollBack = async (host: string, transaction: string) => {
    this.log.push(`back ${host} ${transaction}`);
    await this.#work();
    return this.stuck.has(host)
      ? ({ state: 'unknown', failed: true, why: '' } as const)
      : ({ state: 'rolled-back', failed: false, why: '' } as const);
  };

  async #work(): Promise<void> {
    this.#busy += 1;
    this.most = Math.max(this.most, this.#busy);
    for (let turn = 0; turn < 5; turn += 1) await Promise.resolve();
    this.#busy -= 1;
  }
}

async function run(
  fleet: PaperFleet,
  more: Partial<PlannedRollout> & {
    readonly maxParallel?: number;
    readonly cancelled?: AbortSignal;
  },
) {
  const { maxParallel = 1, cancelled = new AbortController().signal, ...own } = more;
  const plan = { hosts: hosts(4), canaries: 1, maxFailures: 1, onFailure: 'host', ...own } as const;
  const end = await rollOut({ plan, maxParallel, cancelled }, fleet);
  return { end, states: end.hosts.map(({ state }) => state) };
}

describe('a rollout from one process', () => {
  it('deploys every one of a thousand hosts once, so many at a time, after the canary', async () => {
    const fleet = new PaperFleet();
    const { end } = await run(fleet, { hosts: hosts(1000), maxParallel: 20 });
    expect(end.ok).toBe(true);
    expect(fleet.most).toBe(20);
    expect(fleet.log.slice(0, 3)).toEqual(['deploy web1', 'end web1', 'deploy web2']);
    expect(new Set(fleet.log).size).toBe(2000);
  });

  it('begins no other host after a canary that failed, however many may fail', async () => {
    const fleet = new PaperFleet();
    fleet.failing = new Set(['web1']);
    const { states } = await run(fleet, { maxFailures: 9 });
    expect(states).toEqual(['rolled-back', 'untouched', 'untouched', 'untouched']);
    expect(fleet.log).toEqual(['deploy web1', 'end web1']);
  });

  it('lets the hosts that run go on to their end, and begins no other', async () => {
    const fleet = new PaperFleet();
    fleet.failing = new Set(['web2']);
    const { states } = await run(fleet, { hosts: hosts(6), maxParallel: 2 });
    expect(states).toEqual([
      'confirmed',
      'rolled-back',
      'confirmed',
      'untouched',
      'untouched',
      'untouched',
    ]);
  });

  it('rolls back by policy what it has deployed, past a host that cannot be', async () => {
    const fleet = new PaperFleet();
    fleet.failing = new Set(['web4']);
    fleet.stuck = new Set(['web1']);
    const { states, end } = await run(fleet, { onFailure: 'run' });
    expect(states).toEqual(['unknown', 'rolled-back', 'rolled-back', 'rolled-back']);
    expect(fleet.log.slice(-3)).toEqual([
      'back web1 of-web1',
      'back web2 of-web2',
      'back web3 of-web3',
    ]);
    expect(end.ok).toBe(false);
  });

  it('takes nothing back and begins nothing once it is cancelled', async () => {
    const fleet = new PaperFleet();
    const cancel = new AbortController();
    fleet.failing = new Set(['web2']);
    fleet.onDeploy = (host) => host === 'web2' && cancel.abort();
    const { states, end } = await run(fleet, { onFailure: 'run', cancelled: cancel.signal });
    expect(states).toEqual(['confirmed', 'rolled-back', 'untouched', 'untouched']);
    expect(end.hosts[3]?.why).toBe('not started: interrupted');
    expect(fleet.log.filter((line) => line.startsWith('back'))).toEqual([]);
  });
});
