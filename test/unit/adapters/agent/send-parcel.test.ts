import { createHash, randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { openAgent } from '../../../../src/adapters/agent/open-agent.ts';
import { HostError } from '../../../../src/model/errors.ts';
import type { Progress } from '../../../../src/model/outcome.ts';
import { bytes, sha256Text } from '../../../../src/model/units.ts';
import type { Parcel } from '../../../../src/ports/code.ts';
import { type FakeAgent, type FakeAsk, fakeAgent, PROGRAM, TestServer } from '../ssh-server.ts';

const content = randomBytes(2_000_000);
const parcel: Parcel = {
  title: 'the bundle',
  content,
  sizeBytes: bytes(content.length),
  sha256: sha256Text(createHash('sha256').update(content).digest('hex')),
};

/** Sends the parcel to an agent that does as the test says. */
async function send(script: FakeAgent): Promise<readonly Progress[]> {
  await using server = await TestServer.start({ onExec: fakeAgent(script) });
  await using agent = await openAgent({ target: server.target(), program: PROGRAM }, () => {});
  const seen: Progress[] = [];
  await agent.send(parcel, (each) => seen.push(each));
  return seen;
}

describe('a parcel', () => {
  test('arrives in order, in pieces that fit in a line', async () => {
    const asks: FakeAsk[] = [];
    let arrived = Buffer.alloc(0);
    const notes = await send({
      onAsk: (ask, agent) => {
        asks.push(ask);
        if (ask.step === 'piece') {
          expect(ask.offset).toBe(arrived.length);
          expect(JSON.stringify(ask).length).toBeLessThan(1024 * 1024);
          arrived = Buffer.concat([arrived, Buffer.from(String(ask.data), 'base64')]);
        }
        const answer = { sizeBytes: arrived.length, whole: ask.step === 'end' };
        agent.say({ id: ask.id, answer });
      },
    });
    expect(asks.map(({ step }) => step)).toEqual(['begin', 'piece', 'piece', 'piece', 'end']);
    expect(asks[0]).toMatchObject({
      ask: 'receive',
      sha256: parcel.sha256,
      sizeBytes: content.length,
    });
    expect(arrived.equals(content)).toBe(true);
    expect(notes).toEqual([{ kind: 'note', message: 'sent the bundle (2000000 bytes)' }]);
  });

  test('is not sent again when the host has it', async () => {
    const steps: unknown[] = [];
    const notes = await send({
      onAsk: (ask, agent) => {
        steps.push(ask.step);
        agent.say({ id: ask.id, answer: { sizeBytes: content.length, whole: true } });
      },
    });
    expect(steps).toEqual(['begin']);
    expect(notes).toEqual([]);
  });

  test('that the host has no room for fails with the message of the host', async () => {
    const steps: unknown[] = [];
    const sent = send({
      onAsk: (ask, agent) => {
        steps.push(ask.step);
        if (ask.step === 'begin') {
          agent.say({ id: ask.id, answer: { sizeBytes: 0, whole: false } });
        } else {
          agent.say({
            id: ask.id,
            fault: { message: 'No space left on device', next: 'free some' },
          });
        }
      },
    });
    await expect(sent).rejects.toThrow('No space left on device');
    await expect(sent).rejects.toBeInstanceOf(HostError);
    expect(steps).toEqual(['begin', 'piece']);
  });

  test('with a missing piece is refused', async () => {
    const sent = send({
      onAsk: (ask, agent) => agent.say({ id: ask.id, answer: { sizeBytes: 7, whole: false } }),
    });
    await expect(sent).rejects.toThrow('the host has 7 bytes, expected 737280');
  });
});
