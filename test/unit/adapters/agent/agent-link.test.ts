import { describe, expect, test } from 'vitest';
import { openAgent } from '../../../../src/adapters/agent/open-agent.ts';
import type { Operation } from '../../../../src/model/operation.ts';
import { seconds } from '../../../../src/model/units.ts';
import { realFact } from '../../../lib/real-facts.ts';
import { hostRefusal } from '../../../lib/refusals.ts';
import {
  type FakeAgent,
  type FakeAgentHandle,
  fakeAgent,
  HELLO,
  PROGRAM,
  STREAMED,
  TestServer,
} from '../ssh-server.ts';
import { answering, META, QUERY, quiet, SWAP_ON, withAgent } from './with-agent.ts';

const HOST = realFact('host');

describe('what login shells print', () => {
  const greet = (say: (agent: FakeAgentHandle) => void): FakeAgent => ({
    onProgram: (_sources, agent) => say(agent),
    onAsk: answering(() => ({ host: HOST })),
  });
  const helloLine = Buffer.from(`${JSON.stringify(HELLO)}\n`);

  test.each([
    ['lines before the hello', 'Welcome to Debian!\n\n{"not": "it"}\n'],
    ['an unfinished line before it', 'Last login: today '],
    ['braces before it', '{"hello" {{ {"hello": "you"} '],
    ['much', `${'x'.repeat(80)}\n`.repeat(500)],
    ['bytes that are no UTF-8', Buffer.from([0xff, 0xfe, 0x0a])],
  ])('is skipped: %s', async (_name, noise) => {
    const script = greet((agent) => {
      agent.channel.write(noise);
      agent.channel.write(helloLine);
    });
    await withAgent(script, async (agent) => expect(agent.hello).toEqual(STREAMED));
  });

  test('a hello and an answer that arrive byte by byte are reassembled', async () => {
    const script: FakeAgent = {
      onProgram: (_sources, agent) => {
        for (const byte of helloLine) agent.channel.write(Buffer.of(byte));
      },
      onAsk: (ask, agent) => {
        const line = `${JSON.stringify({ id: ask.id, answer: { host: { ...HOST, hostname: 'zażółć €' } } })}\n`;
        for (const byte of Buffer.from(line)) agent.channel.write(Buffer.of(byte));
      },
    };
    await withAgent(script, async (agent) => {
      const facts = await agent.look(QUERY);
      expect(facts.host.hostname).toBe('zażółć €');
    });
  });

  test('is read up to a limit', async () => {
    await using server = await TestServer.start({
      onExec: (channel) => {
        channel.on('data', () => {});
        channel.write('y\n'.repeat(40_000));
      },
    });
    const error = await hostRefusal(
      openAgent({ target: server.target(), program: PROGRAM }, quiet),
    );
    expect(error.message).toContain('prints more than 65536 bytes before any command');
  });

  test('is waited for up to a limit', async () => {
    await using server = await TestServer.start({ onExec: () => {} });
    const limits = { hello: seconds(0.05) };
    const error = await hostRefusal(
      openAgent({ target: server.target(), program: PROGRAM, limits }, quiet),
    );
    expect(error.message).toContain('127.0.0.1 did not start it within 0.05 s');
  });
});

describe('the program', () => {
  test('is sent to a host that asks for it, and only then', async () => {
    let reads = 0;
    const json = () => {
      reads += 1;
      return PROGRAM.json();
    };
    const program = { ...PROGRAM, json };
    for (const [isKept, expected] of [
      [true, 0],
      [false, 1],
    ] as const) {
      await using server = await TestServer.start({ onExec: fakeAgent({ isKept }) });
      await using agent = await openAgent({ target: server.target(), program }, quiet);
      expect(agent.hello.protocol).toBe(1);
      expect(reads).toBe(expected);
    }
  });

  test('that is no longer of this version is not sent, and the error says what to do', async () => {
    await using server = await TestServer.start({ onExec: fakeAgent({}) });
    const program = { ...PROGRAM, json: () => '{}' };
    const error = await hostRefusal(openAgent({ target: server.target(), program }, quiet));
    expect(error.message).toContain(
      'the agent was not sent to the host: Celeriac was replaced by another version while it ran.',
    );
    expect(error.failure.next).toContain('run again');
  });
});

describe('failures', () => {
  test('a fault becomes an error with its details, and the session continues', async () => {
    const fault = {
      message: 'the lock is held by run 17',
      ran: ['flock', '/var/lib/celeriac/lock'],
      exitCode: 1,
      evidence: ['run 17, since 12:00'],
      next: 'Wait for it.',
    };
    const script: FakeAgent = {
      onAsk: (ask, agent) =>
        agent.say(
          ask.ask === 'apply' ? { id: ask.id, fault } : { id: ask.id, answer: { host: HOST } },
        ),
    };
    await withAgent(script, async (agent) => {
      const error = await hostRefusal(agent.apply([SWAP_ON], META, quiet));
      expect(error.message).toBe(fault.message);
      expect(error.failure).toEqual({
        step: 'apply the plan',
        ran: fault.ran,
        exitCode: 1,
        evidence: fault.evidence,
        undone: [],
        next: 'Wait for it.',
      });
      expect(await agent.look(QUERY)).toEqual({ host: HOST });
    });
  });

  test('a fault without an id ends the pending requests', async () => {
    const script: FakeAgent = {
      onAsk: (_ask, agent) => agent.say({ id: null, fault: { message: 'not JSON', next: '' } }),
    };
    await withAgent(script, async (agent) => {
      const error = await hostRefusal(agent.look(QUERY));
      expect(error.message).toBe('not JSON');
      expect(error.failure.next).not.toBe('');
    });
  });

  test('an agent that dies is reported with the step, the signal and its last lines', async () => {
    const script: FakeAgent = {
      onAsk: (ask, agent) => {
        agent.say({
          id: ask.id,
          progress: { kind: 'step-started', index: 0, title: 'use the swap file' },
        });
        agent.channel.stderr.write('MemoryError\n');
        agent.channel.exit('KILL', false, '');
        agent.channel.end();
      },
    };
    await withAgent(script, async (agent) => {
      const error = await hostRefusal(agent.apply([SWAP_ON], META, quiet));
      expect(error.message).toBe(
        'the agent exited unexpectedly (SIGKILL). Step: apply the plan: use the swap file.',
      );
      expect(error.failure).toMatchObject({ exitCode: null, evidence: ['MemoryError'] });
      expect((await hostRefusal(agent.look(QUERY))).message).toContain('the agent exited');
    });
  });

  test('a lost connection rejects every pending request and names its step', async () => {
    const script: FakeAgent = {
      onAsk: (ask, agent) => {
        if (ask.ask !== 'apply') return;
        agent.say({ id: ask.id, progress: { kind: 'step-started', index: 0, title: 'swap on' } });
        setTimeout(() => agent.connection.end(), 20);
      },
    };
    await withAgent(script, async (agent) => {
      const [applying, looking] = await Promise.all([
        hostRefusal(agent.apply([SWAP_ON], META, quiet)),
        hostRefusal(agent.look(QUERY)),
      ]);
      expect(applying.message).toContain('Step: apply the plan: swap on.');
      expect(looking.message).toContain('Step: look at host.');
    });
  });

  test('a look that takes too long fails and closes the connection', async () => {
    let gone = false;
    const script: FakeAgent = {
      onAsk: (_ask, agent) => {
        agent.connection.on('close', () => {
          gone = true;
        });
      },
    };
    const limits = { look: seconds(0.05) };
    await withAgent(
      script,
      async (agent) => {
        const error = await hostRefusal(agent.look(QUERY));
        expect(error.message).toBe('the host did not answer within 0.05 s. Step: look at host.');
        await expect.poll(() => gone).toBe(true);
      },
      { limits },
    );
  });

  const big = 'x'.repeat(1024 * 1024 + 1);
  test.each([
    ['a line without end', (agent: FakeAgentHandle) => agent.channel.write(big), 'longer than'],
    [
      'a whole line that is too long',
      (agent: FakeAgentHandle) => agent.channel.write(`"${big}"\n`),
      'longer than 1048576 bytes',
    ],
    [
      'a line that is no message',
      (agent: FakeAgentHandle) => agent.channel.write('what?\n'),
      'a line is not a JSON object',
    ],
    [
      'an answer to nothing',
      (agent: FakeAgentHandle) => agent.say({ id: 99, answer: {} }),
      'it answers request 99',
    ],
    [
      'progress of an unknown kind',
      (agent: FakeAgentHandle) => agent.say({ id: 1, progress: { kind: 'dance' } }),
      'unexpected shape: progress.kind has an unknown value',
    ],
    [
      'a message that says nothing',
      (agent: FakeAgentHandle) => agent.say({ id: 1, host: {} }),
      'it has no answer, progress or fault',
    ],
  ])('%s is refused', async (_name, talk, problem) => {
    await withAgent({ onAsk: (_ask, agent) => talk(agent) }, async (agent) => {
      const error = await hostRefusal(agent.look(QUERY));
      expect(error.message).toContain('unexpected message from the agent: ');
      expect(error.message).toContain(problem);
    });
  });

  test('a fact of an unexpected shape is an error, and the session continues', async () => {
    const answers = [{ host: { ...HOST, kernel: null } }, {}, { host: HOST }];
    const script: FakeAgent = {
      onAsk: (ask, agent) => agent.say({ id: ask.id, answer: answers.shift() }),
    };
    await withAgent(script, async (agent) => {
      const odd = await hostRefusal(agent.look(QUERY));
      expect(odd.message).toBe(
        "the agent's fact 'host' has an unexpected shape: kernel is null, expected string",
      );
      expect(odd.failure).toMatchObject({ step: 'look at host', evidence: [] });
      expect((await hostRefusal(agent.look(QUERY))).message).toContain("fact 'host'");
      expect(await agent.look(QUERY)).toEqual({ host: HOST });
    });
  });

  test('a plan that is too large for a line is not sent', async () => {
    await withAgent({}, async (agent) => {
      const huge: Operation = { ...SWAP_ON, title: big };
      const error = await hostRefusal(agent.apply([huge], META, quiet));
      expect(error.message).toContain('larger than 1048576 bytes, so it was not sent');
      expect(agent.traffic.messagesSent).toBe(0);
    });
  });
});
