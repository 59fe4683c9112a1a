import { createHash, randomBytes } from 'node:crypto';
import { deflateSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import type { AgentOptions } from '../../../src/adapters/agent/agent-options.ts';
import { openAgent } from '../../../src/adapters/agent/open-agent.ts';
import { hostProgram } from '../../../src/generated/host-program.ts';
import type { Operation } from '../../../src/model/operation.ts';
import type { Progress, TransactionMeta } from '../../../src/model/outcome.ts';
import { bytes, seconds } from '../../../src/model/units.ts';
import type { Agent } from '../../../src/ports/agent.ts';
import { realFact } from '../../lib/real-facts.ts';
import { hostRefusal } from '../../lib/refusals.ts';
import {
  type FakeAgent,
  type FakeAgentHandle,
  type FakeAsk,
  fakeAgent,
  HELLO,
  PROGRAM,
  runShell,
  TestClock,
  TestServer,
} from './ssh-server.ts';

const quiet = () => {};
const META: TransactionMeta = {
  action: 'provision',
  holder: 'a test',
  sha: '0'.repeat(40),
  lockTimeoutSeconds: seconds(1),
};
const SWAP_ON: Operation = { op: 'swap-on', path: '/swapfile', title: 'use it', why: 'it is off' };
const QUERY = { host: {} } as const;
const HOST = realFact('host');
const SYSCTL = realFact('sysctl');

type Work<T> = (agent: Agent, server: TestServer) => Promise<T>;

/** A session with an agent that does as the test says. */
async function withAgent<T>(
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

const answering =
  (answer: (ask: FakeAsk) => unknown) =>
  (ask: FakeAsk, agent: FakeAgentHandle): void => {
    agent.say({ id: ask.id, answer: answer(ask) });
  };

describe('a session', () => {
  test('is one handshake and one exec, and counts its messages', async () => {
    let sources: unknown;
    const script: FakeAgent = {
      onProgram: (given, agent) => {
        sources = given;
        agent.hello();
      },
      onAsk: answering(() => ({ sysctl: SYSCTL })),
    };
    await withAgent(script, async (agent, server) => {
      expect(agent.hello).toEqual(HELLO);
      expect(sources).toEqual(PROGRAM);
      const facts = await agent.look({ sysctl: { names: ['vm.swappiness'] } });
      expect(facts.sysctl).toEqual(SYSCTL);
      await agent.close();
      expect(agent.traffic).toMatchObject({
        handshakes: 1,
        execs: 1,
        messagesSent: 2,
        messagesReceived: 2,
      });
      expect([server.connections, server.execs.length]).toEqual([1, 1]);
    });
  });

  test('sends what the protocol says, one line an ask', async () => {
    const asks: FakeAsk[] = [];
    const script: FakeAgent = {
      onAsk: (ask, agent) => {
        asks.push(ask);
        agent.say({
          id: ask.id,
          answer: { host: HOST, transaction: 't', result: 'committed', steps: [] },
        });
      },
    };
    await withAgent(script, async (agent) => {
      await agent.look(QUERY);
      await agent.apply([SWAP_ON], META, quiet);
      await agent.undo(['t'], META, quiet);
    });
    expect(asks).toEqual([
      { id: 1, ask: 'look', query: QUERY },
      { id: 2, ask: 'apply', operations: [SWAP_ON], meta: META },
      { id: 3, ask: 'undo', transactions: ['t'], meta: META },
    ]);
  });

  test('runs sudo for users other than root, and only for them', async () => {
    const script = fakeAgent({});
    for (const [user, start] of [
      ['root', "python3 -I -S -uc '"],
      ['deploy', "sudo -n python3 -I -S -uc '"],
    ] as const) {
      await using server = await TestServer.start({ onExec: script });
      await using _agent = await openAgent(
        { target: server.target({ user }), program: PROGRAM },
        quiet,
      );
      expect(server.execs[0]?.startsWith(start)).toBe(true);
    }
  });

  test('matches answers to asks by their ids', async () => {
    const held: FakeAsk[] = [];
    const script: FakeAgent = {
      onAsk: (ask, agent) => {
        held.push(ask);
        if (held.length < 2) return;
        const answer = { host: HOST, workers: [] };
        for (const each of held.reverse()) agent.say({ id: each.id, answer });
      },
    };
    await withAgent(script, async (agent) => {
      const [host, workers] = await Promise.all([
        agent.look(QUERY),
        agent.look({ workers: { command: '^celery' } }),
      ]);
      expect([Object.keys(host), Object.keys(workers)]).toEqual([['host'], ['workers']]);
    });
  });

  test('waits for the agent to leave, then ends the connection all the same', async () => {
    let ended = 0;
    await using server = await TestServer.start({
      onExec: (channel, command, connection) => {
        // An agent that never leaves: the fake one without its bye.
        const script = fakeAgent({ onEnd: () => {} });
        script(channel, command, connection);
        channel.exit = () => {};
        const end = channel.end.bind(channel);
        channel.end = () => channel;
        connection.on('close', () => {
          ended += 1;
          end();
        });
      },
    });
    const agent = await openAgent(
      { target: server.target(), program: PROGRAM, limits: { bye: seconds(0.05) } },
      quiet,
    );
    await agent.close();
    await agent.close();
    await expect.poll(() => ended).toBe(1);
    const later = await hostRefusal(agent.look(QUERY));
    expect(later.message).toContain('closed');
  });

  test('lets the agent see end-of-file when the runner breaks off', async () => {
    let ended = false;
    const script: FakeAgent = {
      onEnd: () => {
        ended = true;
      },
    };
    await withAgent(script, async (agent) => {
      const looking = hostRefusal(agent.look(QUERY));
      await agent.close();
      await looking;
    });
    expect(ended).toBe(true);
  });

  test('tells of attempts that failed before', async () => {
    const notes: string[] = [];
    await using server = await TestServer.start({
      onExec: fakeAgent({}),
      onConnection: (connection, count) => {
        if (count === 1) connection.end();
      },
    });
    const clock = new TestClock();
    await using agent = await openAgent(
      { target: server.target(), program: PROGRAM, clock },
      (note) => notes.push(note),
    );
    expect(notes).toHaveLength(1);
    expect(agent.traffic).toMatchObject({ handshakes: 1, connectSeconds: 2, startSeconds: 0 });
  });
});

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
    await withAgent(script, async (agent) => expect(agent.hello).toEqual(HELLO));
  });

  test('a hello and an answer that come byte by byte are put together', async () => {
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

  test('is not read for ever', async () => {
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

  test('is not waited for for ever', async () => {
    await using server = await TestServer.start({ onExec: () => {} });
    const limits = { hello: seconds(0.05) };
    const error = await hostRefusal(
      openAgent({ target: server.target(), program: PROGRAM, limits }, quiet),
    );
    expect(error.message).toContain('no hello came from 127.0.0.1 within 0.05 s');
  });
});

describe('what goes wrong', () => {
  test('a fault is an error with all that the agent knows, and the session goes on', async () => {
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

  test('a fault without an id ends what is asked', async () => {
    const script: FakeAgent = {
      onAsk: (_ask, agent) => agent.say({ id: null, fault: { message: 'not JSON', next: '' } }),
    };
    await withAgent(script, async (agent) => {
      const error = await hostRefusal(agent.look(QUERY));
      expect(error.message).toBe('not JSON');
      expect(error.failure.next).not.toBe('');
    });
  });

  test('an agent that dies says where, how, and what it wrote last', async () => {
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
        'The agent ended at: apply the plan: use the swap file (SIGKILL).',
      );
      expect(error.failure).toMatchObject({ exitCode: null, evidence: ['MemoryError'] });
      expect((await hostRefusal(agent.look(QUERY))).message).toContain('The agent ended');
    });
  });

  test('a lost connection rejects all that is asked and says at which point', async () => {
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
      expect(applying.message).toContain('was lost at: apply the plan: swap on (');
      expect(looking.message).toContain('was lost at: look at host (');
    });
  });

  test('a look that takes too long gives up, and lets go of the host', async () => {
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
        expect(error.message).toBe('The host did not answer within 0.05 s at: look at host.');
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
      'a line is not a message',
    ],
    [
      'an answer to nothing',
      (agent: FakeAgentHandle) => agent.say({ id: 99, answer: {} }),
      'the id 99',
    ],
    [
      'progress of an unknown kind',
      (agent: FakeAgentHandle) => agent.say({ id: 1, progress: { kind: 'dance' } }),
      'a message has an unexpected shape: progress.kind is not known',
    ],
    [
      'a message that says nothing',
      (agent: FakeAgentHandle) => agent.say({ id: 1, host: {} }),
      'it holds no answer, no progress and no fault',
    ],
  ])('%s is not understood', async (_name, talk, problem) => {
    await withAgent({ onAsk: (_ask, agent) => talk(agent) }, async (agent) => {
      const error = await hostRefusal(agent.look(QUERY));
      expect(error.message).toContain('do not understand each other at: look at host');
      expect(error.message).toContain(problem);
    });
  });

  test('a fact of another shape is an error, and the session goes on', async () => {
    const answers = [{ host: { ...HOST, kernel: null } }, {}, { host: HOST }];
    const script: FakeAgent = {
      onAsk: (ask, agent) => agent.say({ id: ask.id, answer: answers.shift() }),
    };
    await withAgent(script, async (agent) => {
      const odd = await hostRefusal(agent.look(QUERY));
      expect(odd.message).toBe(
        "The agent's fact 'host' has an unexpected shape: kernel is null, expected string.",
      );
      expect(odd.failure).toMatchObject({ step: 'look at host', evidence: [] });
      expect((await hostRefusal(agent.look(QUERY))).message).toContain("fact 'host'");
      expect(await agent.look(QUERY)).toEqual({ host: HOST });
    });
  });

  test('a plan too large for a line is not sent', async () => {
    await withAgent({}, async (agent) => {
      const huge: Operation = { ...SWAP_ON, title: big };
      const error = await hostRefusal(agent.apply([huge], META, quiet));
      expect(error.message).toContain('larger than 1048576 bytes');
      expect(agent.traffic.messagesSent).toBe(0);
    });
  });
});

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

  test('streams its progress and gives its outcome, also when it was undone', async () => {
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
    ['result is none of committed, undone, undo-failed', { ...outcome, result: 'fine' }],
    ['steps is missing', { ...outcome, steps: undefined }],
    ['steps[0].status is none of', { ...outcome, steps: [{ ...step, status: 'maybe' }] }],
    [
      'failure.message is number, expected string',
      { ...outcome, failure: { index: 0, message: 7 } },
    ],
  ])('with an outcome of another shape is an error: %s', async (problem, answer) => {
    await withAgent({ onAsk: answering(() => answer) }, async (agent) => {
      const error = await hostRefusal(agent.apply([SWAP_ON], META, quiet));
      expect(error.message).toContain(
        `The agent's answer to 'apply' has an unexpected shape: ${problem}`,
      );
    });
  });

  test('goes on without its connection, and is followed over another one', async () => {
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
    expect(seen.map((each) => each.kind === 'step-started' && each.title)).toEqual(titles);
  });

  test('whose agent alone dies leaves no connection open, which would keep the action alive', async () => {
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

  test('whose host does not come back says where the connection was lost', async () => {
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
    expect(error.message).toContain('was lost at: apply the plan');
    expect(clock.now()).toBeGreaterThanOrEqual(300);
    await agent.close();
  });

  test('whose progress cannot be followed is let go of', async () => {
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

describe('a snapshot', () => {
  const rows = { unit: 'a.service', tables: [] };
  const content = Buffer.concat([randomBytes(300_000), Buffer.alloc(300_000)]);
  const info = {
    database: '/srv/app.db',
    holds: 'everything',
    sizeBytes: content.length,
    sha256: createHash('sha256').update(content).digest('hex'),
    takenAt: 1_790_000_000,
  };
  const sending = (packed: Buffer, answer: object = info): FakeAgent => ({
    onAsk: (ask, agent) => {
      agent.say({ id: ask.id, progress: { kind: 'note', message: 'copying' } });
      for (let at = 0; at < packed.length; at += 100_000) {
        const data = packed.subarray(at, at + 100_000).toString('base64');
        agent.say({ id: ask.id, progress: { kind: 'chunk', data } });
      }
      agent.say({ id: ask.id, answer });
    },
  });
  const take = (script: FakeAgent, limit = 1_000_000) =>
    withAgent(script, (agent) =>
      hostRefusal(agent.snapshot('/srv/app.db', bytes(limit), rows, quiet)),
    );

  test('arrives whole', async () => {
    const seen: Progress[] = [];
    await withAgent(sending(deflateSync(content)), async (agent) => {
      const copy = await agent.snapshot('/srv/app.db', bytes(1_000_000), rows, (each) =>
        seen.push(each),
      );
      expect(copy.info).toEqual(info);
      expect(content.equals(copy.content)).toBe(true);
    });
    expect(seen).toEqual([{ kind: 'note', message: 'copying' }]);
  });

  test.each([
    ['cut off', deflateSync(content).subarray(0, -10), info],
    ['not compressed', content, info],
    ['of other bytes', deflateSync(Buffer.alloc(content.length)), info],
    ['of another size', deflateSync(content), { ...info, sizeBytes: 3 }],
  ])('that is %s is refused', async (_name, packed, answer) => {
    expect((await take(sending(packed, answer))).message).toContain('did not arrive whole');
  });

  test('that would burst is refused, whatever its packed size', async () => {
    const bomb = deflateSync(Buffer.alloc(50_000_000));
    expect((await take(sending(bomb))).message).toContain('larger than 1000000 bytes');
    const bulky = deflateSync(randomBytes(1_200_000));
    expect((await take(sending(bulky))).message).toContain('larger than 1000000 bytes');
  });

  test('that stops in the middle is given up', async () => {
    const script: FakeAgent = {
      onAsk: (ask, agent) => agent.say({ id: ask.id, progress: { kind: 'chunk', data: 'AAAA' } }),
    };
    const limits = { snapshotSilence: seconds(0.05) };
    await withAgent(
      script,
      async (agent) => {
        const error = await hostRefusal(agent.snapshot('/srv/app.db', bytes(10), rows, quiet));
        expect(error.message).toContain('within 0.05 s at: copy /srv/app.db');
      },
      { limits },
    );
  });
});

describe('jobs', () => {
  const request = {
    kind: 'http',
    method: 'GET',
    url: 'http://127.0.0.1/',
    form: {},
    pollUrl: null,
    field: 'status',
    done: ['completed'],
    failed: ['failed'],
    timeoutSeconds: seconds(1),
  } as const;

  test('come back as a report', async () => {
    const report = {
      ok: false,
      jobs: [{ id: '1', where: 'celery', state: 'timed-out', detail: '', seconds: 1 }],
      problem: 'one job did not come back',
    };
    await withAgent({ onAsk: answering(() => report) }, async (agent) => {
      expect(await agent.submit(request, quiet)).toEqual(report);
    });
  });

  test('are not waited for beyond their time and a margin', async () => {
    await withAgent(
      {},
      async (agent) => {
        const error = await hostRefusal(agent.submit(request, quiet));
        expect(error.message).toContain('within 1.25 s at: submit jobs');
      },
      { limits: { submitMargin: seconds(0.25) } },
    );
  });
});

describe('a real login shell and Python', () => {
  /** As the server's shell would run it, after what the host's own scripts do. */
  async function startOn(script: string, program = PROGRAM, edit = (command: string) => command) {
    await using server = await TestServer.start({
      onExec: (channel, command) => runShell(channel, `${script}\n${edit(command)}`),
    });
    await using agent = await openAgent({ target: server.target(), program }, quiet);
    return agent.hello;
  }

  test('start the agent of host/ and hear its hello', async () => {
    await using server = await TestServer.start({
      onExec: (channel, command) => runShell(channel, `printf 'Welcome, '\n${command}`),
    });
    await using agent = await openAgent({ target: server.target(), program: hostProgram }, quiet);
    expect(agent.hello).toMatchObject({ hello: 'celeriac', protocol: 1 });
    const error = await hostRefusal(agent.look({ nonsense: {} } as never));
    expect(error.message).toContain("'nonsense'");
  });

  test('that is too old is told so, by the bootstrap itself', async () => {
    const error = await hostRefusal(
      startOn('', PROGRAM, (command) => command.replace('(3,8)', '(99,0)')),
    );
    expect(error.message).toMatch(/too old: expected 3\.8 or newer, found 3\.\d+/);
  });

  test('that is not there is told so', async () => {
    const error = await hostRefusal(startOn('PATH=/nonexistent'));
    expect(error.message).toContain('127.0.0.1 has no python3');
    expect(error.failure.exitCode).toBe(127);
  });

  test('whose login script ends first is told so', async () => {
    const error = await hostRefusal(startOn('echo Goodbye; exit 0'));
    expect(error.message).toContain('ended with exit code 0 without running `python3`');
    expect(error.failure.evidence).toEqual(['stdout: Goodbye']);
  });

  test('that fails on the program says with what', async () => {
    const program = { 'celeriac_host/session/loader.py': 'import no_such_module_at_all\n' };
    const error = await hostRefusal(startOn('', program));
    expect(error.message).toContain("No module named 'no_such_module_at_all'");
  });
});
