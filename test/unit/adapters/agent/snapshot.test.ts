import { createHash, randomBytes } from 'node:crypto';
import { deflateSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import type { Progress } from '../../../../src/model/outcome.ts';
import { bytes, seconds } from '../../../../src/model/units.ts';
import { hostRefusal } from '../../../lib/refusals.ts';
import type { FakeAgent } from '../ssh-server.ts';
import { quiet, withAgent } from './with-agent.ts';

describe('a snapshot', () => {
  const rows = { unit: 'a.service', tables: [], counts: 'counts', mostUnknown: 0 };
  const content = Buffer.concat([randomBytes(300_000), Buffer.alloc(300_000)]);
  const info = {
    database: '/srv/app.db',
    holds: 'everything',
    sizeBytes: content.length,
    sha256: createHash('sha256').update(content).digest('hex'),
    takenAt: 1_790_000_000,
    writtenAt: null,
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
      hostRefusal(agent.snapshot('/srv/app.db', bytes(limit), rows, 'app', quiet)),
    );

  test('arrives complete', async () => {
    const seen: Progress[] = [];
    await withAgent(sending(deflateSync(content)), async (agent) => {
      const copy = await agent.snapshot('/srv/app.db', bytes(1_000_000), rows, 'app', (each) =>
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
    expect((await take(sending(packed, answer))).message).toContain(
      'arrived incomplete or damaged',
    );
  });

  test('larger than its limit when unpacked is refused, whatever its packed size', async () => {
    const bomb = deflateSync(Buffer.alloc(50_000_000));
    expect((await take(sending(bomb))).message).toContain('larger than the limit of 1000000 bytes');
    const bulky = deflateSync(randomBytes(1_200_000));
    expect((await take(sending(bulky))).message).toContain(
      'larger than the limit of 1000000 bytes',
    );
  });

  test('that stops half-way times out', async () => {
    const script: FakeAgent = {
      onAsk: (ask, agent) => agent.say({ id: ask.id, progress: { kind: 'chunk', data: 'AAAA' } }),
    };
    const limits = { snapshotSilence: seconds(0.05) };
    await withAgent(
      script,
      async (agent) => {
        const error = await hostRefusal(
          agent.snapshot('/srv/app.db', bytes(10), rows, 'app', quiet),
        );
        expect(error.message).toContain('within 0.05 s. Step: copy /srv/app.db');
      },
      { limits },
    );
  });
});
