import { expect, it, vi } from 'vitest';
import { HostError } from '../../../src/model/errors.ts';
import { epochSeconds, seconds } from '../../../src/model/units.ts';
import type { Agent } from '../../../src/ports/agent.ts';
import type { InterruptedRun } from '../../../src/report/interrupted.ts';
import { lookAtInterrupted } from '../../../src/use-case/look-at-interrupted.ts';
import { release } from '../cli/terminal-host.ts';

const run: InterruptedRun = {
  action: 'deploy-worker',
  host: 'vps.example.com',
  port: 22,
  user: 'root',
  unit: 'celery-worker.service',
  holder: 'https://example.com/run/1',
  began: epochSeconds(1_800_000_000),
  transactions: [],
};
const nothing = { untold: [], open: [], working: null, awaiting: [], leftovers: [], notices: {} };
const answers = {
  past: nothing,
  transactions: [],
  releases: { releases: [release(0), release(1)], awaiting: null, guarded: false },
  unit: { loadState: 'loaded', activeState: 'active', subState: 'running' },
};
const never = () => new Promise<never>(() => {});
const limit = seconds(20);

/** An agent that can look, and nothing else. */
function looker(look: Agent['look']) {
  const close = vi.fn(async () => {});
  const asked: object[] = [];
  const agent = {
    look: (query: object) => {
      asked.push(query);
      return look(query as never);
    },
    clockSkew: { ahead: seconds(60), within: seconds(0.5) },
    [Symbol.asyncDispose]: close,
  } as unknown as Agent;
  return { agent, asked, close };
}

it('looks once, and closes', async () => {
  const { agent, asked, close } = looker(async () => answers as never);
  const open = async () => agent;
  const view = await lookAtInterrupted(run, { open, sleep: never, limit });
  expect(view.message).toContain('worker: active (running)');
  expect(view.message).toContain('release: 1 (abc1234def)');
  expect(asked).toEqual([
    {
      past: {},
      transactions: {},
      host: {},
      releases: { unit: run.unit },
      unit: { name: run.unit },
    },
  ]);
  expect(close).toHaveBeenCalledOnce();
});

it('compares the clocks: what began before the run is not its own', async () => {
  const mine = { id: 'a', action: 'deploy-worker', holder: run.holder, unit: run.unit };
  const told = async (startedAt: number) => {
    const each = { ...mine, startedAt, state: 'committed', undoneBy: '', undoneWhy: '' };
    const { agent } = looker(async () => ({ ...answers, transactions: [each] }) as never);
    return lookAtInterrupted(run, { open: async () => agent, sleep: never, limit });
  };
  expect((await told(run.began + 30)).message).toContain('transaction: none of this run');
  expect((await told(run.began + 61)).message).toContain('transaction: a of ');
});

it('says that a unit does not exist', async () => {
  const unit = { loadState: 'not-found', activeState: 'inactive', subState: 'dead' };
  const { agent } = looker(async () => ({ ...answers, unit }) as never);
  const view = await lookAtInterrupted(run, { open: async () => agent, sleep: never, limit });
  expect(view.message).toContain('worker: no such unit: celery-worker.service');
});

it('asks about no unit where the run was about none', async () => {
  const { agent, asked } = looker(async () => answers as never);
  const open = async () => agent;
  const about = { ...run, action: 'provision', unit: null };
  const view = await lookAtInterrupted(about, { open, sleep: never, limit });
  expect(view.message).not.toContain('release:');
  expect(asked).toEqual([{ past: {}, transactions: {}, host: {} }]);
});

it.each([
  ['cannot be reached', new HostError('cannot connect', { step: 'x', next: 'y' })],
  ['goes away', null],
])('says so when the host %s', async (_, error) => {
  const lost = new HostError('Lost the connection', { step: 'x', next: 'y' });
  const { agent, close } = looker(() => Promise.reject(lost));
  const open = () => (error === null ? Promise.resolve(agent) : Promise.reject(error));
  const view = await lookAtInterrupted(run, { open, sleep: never, limit });
  expect(view.message).toContain(`why: ${(error ?? lost).message}`);
  expect(close).toHaveBeenCalledTimes(error === null ? 1 : 0);
});

it('does not wait for a host that does not answer', async () => {
  const sleep = vi.fn(async () => {});
  const view = await lookAtInterrupted(run, { open: never, sleep, limit });
  expect(sleep).toHaveBeenCalledWith(limit);
  expect(view.message).toContain('why: no answer within 20 s');
});
