import { describe, expect, test } from 'vitest';
import { openAgent } from '../../../../src/adapters/agent/open-agent.ts';
import { seconds } from '../../../../src/model/units.ts';
import { realFact } from '../../../lib/real-facts.ts';
import { hostRefusal } from '../../../lib/refusals.ts';
import {
  type FakeAgent,
  type FakeAsk,
  fakeAgent,
  PROGRAM,
  STREAMED,
  TestClock,
  TestServer,
} from '../ssh-server.ts';
import { answering, META, QUERY, quiet, SWAP_ON, withAgent } from './with-agent.ts';

const HOST = realFact('host');
const SYSCTL = realFact('sysctl');

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
      expect(agent.hello).toEqual(STREAMED);
      expect(sources).toEqual(JSON.parse(PROGRAM.json()));
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

  test('sends requests as the protocol describes, one per line', async () => {
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
      { id: 1, protocol: 1, ask: 'look', query: QUERY },
      { id: 2, protocol: 1, ask: 'apply', operations: [SWAP_ON], meta: META },
      { id: 3, protocol: 1, ask: 'undo', transactions: ['t'], meta: META },
    ]);
  });

  test('compares the clock of the host with its own, by the quickest answer', async () => {
    const clock = new TestClock();
    const start = clock.epoch();
    const clocks = [
      { takes: 4, says: start + 300 },
      { takes: 2, says: start + 4 + 301 },
      { takes: 6, says: start + 6 + 900 },
    ];
    const skews: unknown[] = [];
    const script = fakeAgent({
      onAsk: async ({ id, query }, agent) => {
        if (!('host' in (query as object))) {
          agent.say({ id, answer: { sysctl: SYSCTL } });
          return;
        }
        const next = clocks.shift();
        await clock.sleep(seconds(next?.takes ?? 0));
        agent.say({ id, answer: { host: { ...HOST, now: next?.says } } });
      },
    });
    await using server = await TestServer.start({ onExec: script });
    await using agent = await openAgent(
      { target: server.target(), program: PROGRAM, clock },
      quiet,
    );
    await agent.look({ sysctl: { names: [] } });
    skews.push(agent.clockSkew);
    for (let count = 0; count < 3; count += 1) {
      await agent.look(QUERY);
      skews.push(agent.clockSkew);
    }
    expect(skews).toEqual([
      null,
      { ahead: 298, within: 2 },
      { ahead: 300, within: 1 },
      { ahead: 300, within: 1 },
    ]);
  });

  test('waits as long as commands and URLs of the user may take', async () => {
    const said = { code: 0, output: '', seconds: 1, problem: null };
    const script = fakeAgent({
      onAsk: ({ id, query }, agent) => {
        const answer = 'command' in (query as object) ? { command: said } : { http: [] };
        setTimeout(() => agent.say({ id, answer }), 300);
      },
    });
    const timeoutSeconds = seconds(60);
    const command = { unit: 'w.service', interpreter: [], argv: ['true'], timeoutSeconds };
    const probes = [{ url: 'http://127.0.0.1/', timeoutSeconds }];
    await using server = await TestServer.start({ onExec: script });
    const limits = { look: seconds(0.05) };
    await using agent = await openAgent(
      { target: server.target(), program: PROGRAM, limits },
      quiet,
    );
    const fact = { kind: 'ended', code: 0, output: '', seconds: 1 };
    expect(await agent.look({ command })).toEqual({ command: fact });
    expect(await agent.look({ http: { probes } })).toEqual({ http: [] });
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

  test('matches answers to requests by their ids', async () => {
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

  test('closes without waiting for an agent that never leaves', async () => {
    let ended = 0;
    await using server = await TestServer.start({
      onExec: (channel, command, connection) => {
        // The fake agent without its bye.
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
    const agent = await openAgent({ target: server.target(), program: PROGRAM }, quiet);
    await agent.close();
    await agent.close();
    await expect.poll(() => ended).toBe(1);
    const later = await hostRefusal(agent.look(QUERY));
    expect(later.message).toContain('closed');
  });

  test('sends end-of-file to the agent when the runner closes it', async () => {
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
    await expect.poll(() => ended).toBe(true);
  });

  test('reports failed attempts to connect', async () => {
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

describe('probes', () => {
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

  test('are answered with a report', async () => {
    const report = {
      ok: false,
      jobs: [{ id: '1', where: 'celery', state: 'timed-out', detail: '', seconds: 1 }],
      problem: 'one job did not come back',
    };
    await withAgent({ onAsk: answering(() => report) }, async (agent) => {
      expect(await agent.submit(request, quiet)).toEqual(report);
    });
  });

  test('time out after their own timeout and a margin', async () => {
    await withAgent(
      {},
      async (agent) => {
        const error = await hostRefusal(agent.submit(request, quiet));
        expect(error.message).toContain('within 1.25 s. Step: send the probes');
      },
      { limits: { submitMargin: seconds(0.25) } },
    );
  });
});
