import { expect, test } from 'vitest';
import { openAgent } from '../../../src/adapters/ssh-agent-session.ts';
import { fakeAgent, HELLO, PROGRAM, TestServer } from './ssh-server.ts';

const quiet = () => {};

test('says hello, looks, and leaves: one handshake, one exec', async () => {
  await using server = await TestServer.start({
    onExec: fakeAgent({
      onAsk: (ask, agent) =>
        agent.say({ id: ask.id, answer: { sysctl: { values: {}, settings: [] } } }),
    }),
  });
  const agent = await openAgent({ target: server.target(), program: PROGRAM }, quiet);
  expect(agent.hello).toEqual(HELLO);
  const facts = await agent.look({ sysctl: { names: ['vm.swappiness'] } });
  expect(facts.sysctl).toEqual({ values: {}, settings: [] });
  await agent.close();
  expect(agent.traffic).toMatchObject({
    handshakes: 1,
    execs: 1,
    messagesSent: 2,
    messagesReceived: 2,
  });
  expect(server.connections).toBe(1);
  expect(server.execs).toHaveLength(1);
});
