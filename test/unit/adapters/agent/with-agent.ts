import type { AgentOptions } from '../../../../src/adapters/agent/agent-options.ts';
import { openAgent } from '../../../../src/adapters/agent/open-agent.ts';
import type { Operation } from '../../../../src/model/operation.ts';
import type { TransactionMeta } from '../../../../src/model/outcome.ts';
import { seconds } from '../../../../src/model/units.ts';
import type { Agent } from '../../../../src/ports/agent.ts';
import {
  type FakeAgent,
  type FakeAgentHandle,
  type FakeAsk,
  fakeAgent,
  PROGRAM,
  TestServer,
} from '../ssh-server.ts';

export const quiet = () => {};
export const META: TransactionMeta = {
  action: 'provision',
  holder: 'a test',
  sha: '0'.repeat(40),
  lockTimeoutSeconds: seconds(1),
};
export const SWAP_ON: Operation = {
  op: 'swap-on',
  path: '/swapfile',
  title: 'use it',
  why: 'it is off',
};
export const QUERY = { host: {} } as const;

type Work<T> = (agent: Agent, server: TestServer) => Promise<T>;

/** Runs the work in a session with an agent that follows the script. */
export async function withAgent<T>(
  script: FakeAgent,
  work: Work<T>,
  options: Partial<AgentOptions> = {},
): Promise<T> {
  await using server = await TestServer.start({ onExec: fakeAgent(script) });
  await using agent = await openAgent(
    { target: server.target(), program: PROGRAM, ...options },
    quiet,
  );
  return await work(agent, server);
}

/** An agent that gives this answer to every request. */
export const answering =
  (answer: (ask: FakeAsk) => unknown) =>
  (ask: FakeAsk, agent: FakeAgentHandle): void => {
    agent.say({ id: ask.id, answer: answer(ask) });
  };
