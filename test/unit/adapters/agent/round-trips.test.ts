import type { Connection } from 'ssh2';
import { describe, expect, test } from 'vitest';
import { openAgent } from '../../../../src/adapters/agent/open-agent.ts';
import { openSession } from '../../../../src/adapters/ssh/ssh-session.ts';
import { seconds } from '../../../../src/model/units.ts';
import { realFact } from '../../../lib/real-facts.ts';
import { hostRefusal } from '../../../lib/refusals.ts';
import {
  type FakeAgent,
  type FakeAsk,
  fakeAgent,
  KEYS,
  PROGRAM,
  publicPart,
  TestClock,
  TestServer,
} from '../ssh-server.ts';
import { answering, QUERY, quiet } from './with-agent.ts';

/*
 * Each test takes one answer away from the client: whoever waits for it never gets on. A round trip that
 * comes back fails here, whatever it costs.
 */

/** Keeps back the answer to the request for the service of logins. */
function withholdService(connection: Connection): void {
  const { _protocol: protocol } = connection as unknown as {
    readonly _protocol: { serviceAccept(): void };
  };
  protocol.serviceAccept = () => {};
}

const HOST = realFact('host');
const answersHost = answering(() => ({ host: HOST }));

describe('the login', () => {
  test.each(['ed25519', 'ecdsa'] as const)(
    'by a key of type %s waits neither for the service nor for leave to sign',
    async (type) => {
      await using server = await TestServer.start({
        authorized: KEYS[type],
        onConnection: withholdService,
      });
      const target = server.target({ key: KEYS[type].private });
      await using session = await openSession({ target }, quiet);
      expect(session.handshakes).toBe(1);
      expect([server.logins, server.probes]).toEqual([1, 0]);
    },
  );

  test('by an RSA key signs at once, when the server has named its signatures', async () => {
    await using server = await TestServer.start({ authorized: KEYS.rsa });
    const target = server.target({ key: KEYS.rsa.private });
    await using session = await openSession({ target }, quiet);
    expect(session.handshakes).toBe(1);
    expect([server.logins, server.probes]).toEqual([1, 0]);
  });

  test('sends nothing before the host key is accepted', async () => {
    const services: string[] = [];
    await using server = await TestServer.start({
      onConnection: (connection) => {
        const handlers = (
          connection as unknown as {
            _protocol: { _handlers: Record<string, (...words: unknown[]) => void> };
          }
        )._protocol._handlers;
        handlers.SERVICE_REQUEST = (_, name) => void services.push(String(name));
      },
    });
    const pinned = KEYS.otherEd25519;
    const error = await hostRefusal(openSession({ target: server.target({}, pinned) }, quiet));
    expect(error.message).toContain('host key');
    expect([server.logins, services]).toEqual([0, []]);
    expect(publicPart(pinned)).not.toBe(publicPart(KEYS.ed25519));
  });
});

describe('the start of the agent', () => {
  test('takes the first question along', async () => {
    const asks: FakeAsk[] = [];
    const script: FakeAgent = {
      // It says hello when it has been asked.
      onProgram: () => {},
      onAsk: (ask, agent) => {
        asks.push(ask);
        if (asks.length === 1) agent.hello();
        answersHost(ask, agent);
      },
    };
    await using server = await TestServer.start({ onExec: fakeAgent(script) });
    const options = { target: server.target(), program: PROGRAM, first: QUERY };
    await using agent = await openAgent(options, quiet);
    expect(await agent.look(QUERY)).toEqual({ host: HOST });
    expect(asks).toEqual([{ id: 1, protocol: 1, ask: 'look', query: QUERY }]);
    expect(agent.traffic).toMatchObject({ messagesSent: 1, messagesReceived: 2 });
    // The second look is a question of its own, and so is another first one.
    expect(await agent.look(QUERY)).toEqual({ host: HOST });
    expect(asks.map(({ id }) => id)).toEqual([1, 2]);
    expect(agent.clockSkew?.within).toBeGreaterThanOrEqual(0);
  });

  test('does not count as the time of the first look', async () => {
    const clock = new TestClock();
    let finish = () => {};
    await using server = await TestServer.start({
      onSession: () => void clock.sleep(seconds(3)),
      onExec: fakeAgent({
        onProgram: () => {},
        onAsk: ({ id }, agent) => {
          void clock.sleep(seconds(10));
          agent.hello();
          finish = () => {
            const now = clock.epoch() + 300;
            void clock.sleep(seconds(2));
            agent.say({ id, answer: { host: { ...HOST, now } } });
          };
        },
      }),
    });
    const options = { target: server.target(), program: PROGRAM, first: QUERY, clock };
    await using agent = await openAgent(options, quiet);
    finish();
    await agent.look(QUERY);
    // The hello came after 13 s and was under way for less than 3 s; the answer came after 15 s.
    expect(agent.clockSkew).toEqual({ ahead: 300.5, within: 2.5 });
  });

  test('asks again if the first look is another one', async () => {
    const asks: FakeAsk[] = [];
    const beats = { command: 'beat' };
    const script: FakeAgent = {
      onAsk: (ask, agent) => {
        asks.push(ask);
        agent.say({ id: ask.id, answer: { host: HOST, beats: realFact('beats') } });
      },
    };
    await using server = await TestServer.start({ onExec: fakeAgent(script) });
    const options = { target: server.target(), program: PROGRAM, first: QUERY };
    await using agent = await openAgent(options, quiet);
    await agent.look({ beats });
    expect(asks.map(({ query }) => query)).toEqual([QUERY, { beats }]);
  });

  test('a first question that fails is the error of the first look', async () => {
    const script: FakeAgent = {
      onAsk: (ask, agent) => agent.say({ id: ask.id, fault: { message: 'no such unit' } }),
    };
    await using server = await TestServer.start({ onExec: fakeAgent(script) });
    const options = { target: server.target(), program: PROGRAM, first: QUERY };
    await using agent = await openAgent(options, quiet);
    const error = await hostRefusal(agent.look(QUERY));
    expect(error.message).toContain('no such unit');
    expect(error.failure.step).toBe('look at host');
  });

  test('a first question that gets no answer is given up', async () => {
    await using server = await TestServer.start({ onExec: fakeAgent({}) });
    const limits = { look: seconds(0.05) };
    const options = { target: server.target(), program: PROGRAM, first: QUERY, limits };
    await using agent = await openAgent(options, quiet);
    const error = await hostRefusal(agent.look(QUERY));
    expect(error.message).toContain('0.05 s');
  });
});

describe('the end', () => {
  test('waits for nothing, and the agent gets its bye and the end of its input', async () => {
    const said: string[] = [];
    const ended = Promise.withResolvers<void>();
    await using server = await TestServer.start({
      onExec: (channel, command, connection) => {
        fakeAgent({})(channel, command, connection);
        channel.on('data', (chunk: Buffer) => void said.push(chunk.toString('latin1')));
        channel.on('end', () => ended.resolve());
      },
      onConnection: (connection) => {
        // Nothing that the server says after the goodbye is heard.
        connection.once('close', () => void said.push('closed'));
      },
    });
    const agent = await openAgent({ target: server.target(), program: PROGRAM }, quiet);
    await agent.close();
    await ended.promise;
    expect(said.join('')).toContain('"ask":"bye"');
    await expect.poll(() => said.at(-1)).toBe('closed');
  });
});
