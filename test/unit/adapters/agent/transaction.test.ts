import { describe, expect, test } from 'vitest';
import { openAgent } from '../../../../src/adapters/agent/open-agent.ts';
import type { Progress } from '../../../../src/model/outcome.ts';
import { seconds } from '../../../../src/model/units.ts';
import { hostRefusal } from '../../../lib/refusals.ts';
import {
  type FakeAgent,
  type FakeAgentHandle,
  type FakeAsk,
  fakeAgent,
  PROGRAM,
  TestClock,
  TestServer,
} from '../ssh-server.ts';
import { answering, META, quiet, SWAP_ON, withAgent } from './with-agent.ts';

describe('a transaction', () => {
  const step = { index: 0, op: 'swap-on', message: 'in use', seconds: 0.1 };
  const progress: readonly Progress[] = [
    { kind: 'step-started', index: 0, title: 'use it' },
    { kind: 'note', message: 'waiting' },
    { kind: 'step-ended', step: { ...step, status: 'failed', seconds: seconds(0.1) } },
  ];
  const outcome = {
    transaction: '20261122T131500-4f2a',
    result: 'undone',
    steps: [{ ...step, status: 'undone', result: { rows: 1 } }],
    failure: { index: 0, message: 'no', ran: ['swapon'], exitCode: null, evidence: ['x'] },
  };

  test('streams progress and returns the outcome, also when it was undone', async () => {
    const seen: Progress[] = [];
    const script: FakeAgent = {
      onAsk: (ask, agent) => {
        for (const each of progress) agent.say({ id: ask.id, progress: each });
        agent.say({ id: ask.id, answer: outcome });
      },
    };
    await withAgent(script, async (agent) => {
      const given = await agent.apply([SWAP_ON], META, (each) => seen.push(each));
      expect(given).toEqual(outcome);
      expect(seen).toEqual(progress);
    });
  });

  test.each([
    ['result is not one of committed, undone, undo-failed', { ...outcome, result: 'fine' }],
    ['steps is missing', { ...outcome, steps: undefined }],
    ['steps[0].status is not one of', { ...outcome, steps: [{ ...step, status: 'maybe' }] }],
    [
      'failure.message is number, expected string',
      { ...outcome, failure: { index: 0, message: 7 } },
    ],
  ])('with an outcome of an unexpected shape is an error: %s', async (problem, answer) => {
    await withAgent({ onAsk: answering(() => answer) }, async (agent) => {
      const error = await hostRefusal(agent.apply([SWAP_ON], META, quiet));
      expect(error.message).toContain(
        `the agent's answer to 'apply' has an unexpected shape: ${problem}`,
      );
    });
  });

  test('continues without its connection, and is followed over a new one', async () => {
    const asks: FakeAsk[] = [];
    const opened = { transactions: ['20261122T131500-4f2a'], live: 'x' };
    const titles = ['first', 'second', 'third'];
    const tell = (ask: FakeAsk, agent: FakeAgentHandle, count: number) => {
      agent.say({ id: ask.id, progress: { kind: 'opened', ...opened } });
      for (const [index, title] of titles.slice(0, count).entries()) {
        agent.say({ id: ask.id, progress: { kind: 'step-started', index, title } });
      }
    };
    const script: FakeAgent = {
      onAsk: (ask, agent) => {
        asks.push(ask);
        if (ask.ask === 'apply') {
          tell(ask, agent, 2);
          setTimeout(() => agent.connection.end(), 50);
          return;
        }
        tell(ask, agent, 3);
        const outcome = { transaction: 't', result: 'committed', steps: [] };
        agent.say({ id: ask.id, answer: outcome });
      },
    };
    const seen: Progress[] = [];
    await withAgent(script, async (agent) => {
      const outcome = await agent.apply([SWAP_ON], META, (each) => seen.push(each));
      expect(outcome.result).toBe('committed');
      expect(agent.traffic).toMatchObject({ handshakes: 2, execs: 2 });
    });
    expect(asks.map(({ ask }) => ask)).toEqual(['apply', 'follow']);
    expect(asks[1]).toMatchObject({ opened });
    // Each once, though the second connection told them again.
    const [begun, ...steps] = seen;
    expect(begun).toEqual({ kind: 'opened', ...opened });
    expect(steps.map((each) => each.kind === 'step-started' && each.title)).toEqual(titles);
  });

  test('closes the connection whose agent died, which would keep the action alive', async () => {
    const opened = { transactions: ['20261122T131500-4f2a'], live: 'x' };
    const left = Promise.withResolvers<void>();
    const script: FakeAgent = {
      onAsk: (ask, agent) => {
        if (ask.ask === 'apply') {
          agent.connection.on('close', () => left.resolve());
          agent.say({ id: ask.id, progress: { kind: 'opened', ...opened } });
          // As sshd tells it; the connection stays.
          agent.channel.exit('KILL', false, '');
          agent.channel.end();
          return;
        }
        agent.say({ id: ask.id, answer: { transaction: 't', result: 'committed', steps: [] } });
      },
    };
    await withAgent(script, async (agent) => {
      expect((await agent.apply([SWAP_ON], META, quiet)).result).toBe('committed');
      await left.promise;
      expect(agent.traffic).toMatchObject({ handshakes: 2, execs: 2 });
    });
  });

  test('names the step when the host does not come back', async () => {
    let server: TestServer | undefined;
    const script: FakeAgent = {
      onAsk: (ask, agent) => {
        const opened = { transactions: ['t'], live: 't' };
        agent.say({ id: ask.id, progress: { kind: 'opened', ...opened } });
        void server?.[Symbol.asyncDispose]();
      },
    };
    server = await TestServer.start({ onExec: fakeAgent(script) });
    const clock = new TestClock();
    const agent = await openAgent({ target: server.target(), program: PROGRAM, clock }, quiet);
    const error = await hostRefusal(agent.apply([SWAP_ON], META, quiet));
    expect(error.message).toContain('Step: apply the plan.');
    expect(clock.now()).toBeGreaterThanOrEqual(300);
    await agent.close();
  });

  test('fails when the progress listener throws', async () => {
    const script: FakeAgent = {
      onAsk: (ask, agent) => agent.say({ id: ask.id, progress: progress[0] }),
    };
    await withAgent(script, async (agent) => {
      const applying = agent.apply([SWAP_ON], META, () => {
        throw new Error('the log is full');
      });
      await expect(applying).rejects.toThrow('the log is full');
    });
  });
});
