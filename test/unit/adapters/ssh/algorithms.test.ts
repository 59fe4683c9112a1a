import type { ParsedKey } from 'ssh2';
import { describe, expect, test } from 'vitest';
import { ALGORITHMS } from '../../../../src/adapters/ssh/algorithms.ts';
import { prepareLogin, sha1Refusal } from '../../../../src/adapters/ssh/login.ts';
import { openSession } from '../../../../src/adapters/ssh/ssh-session.ts';
import { hostRefusal } from '../../../lib/refusals.ts';
import { KEYS, TestServer } from '../ssh-server.ts';

const quiet = () => {};
const ctr = { cipher: ['aes128-ctr' as const] };

describe('a server with legacy algorithms only', () => {
  test.each([
    [{ ...ctr, hmac: ['hmac-sha1' as const] }, 'MAC', 'hmac-sha1', 'hmac-sha2-256', 'MACs'],
    [
      { ...ctr, hmac: ['hmac-sha1-etm@openssh.com' as const, 'hmac-md5' as const] },
      'MAC',
      'hmac-sha1-etm@openssh.com, hmac-md5',
      'hmac-sha2-512',
      'MACs',
    ],
    [{ cipher: ['aes256-cbc' as const] }, 'cipher', 'aes256-cbc', 'aes256-ctr', 'Ciphers'],
    [
      { kex: ['diffie-hellman-group14-sha1' as const] },
      'key exchange',
      'diffie-hellman-group14-sha1',
      'curve25519-sha256',
      'KexAlgorithms',
    ],
  ])('%j gets no login, and is told once', async (algorithms, what, offered, expected, setting) => {
    await using server = await TestServer.start({ algorithms });
    const error = await hostRefusal(openSession({ target: server.target() }, quiet));
    expect(error.message).toContain(`offers no ${what} that is accepted`);
    expect(error.message).toContain(`got only ${offered}`);
    expect(error.message).toContain(expected);
    expect(error.message).toContain('Nothing was sent');
    expect(error.failure.next).toContain(setting);
    expect(server.logins).toBe(0);
    expect(server.connections).toBe(1);
  });

  test('one that verifies RSA with SHA-1 only would get no signature', async () => {
    await using server = await TestServer.start();
    const target = server.target({ key: KEYS.rsa.private });
    const { key } = (await prepareLogin(target, '')).method('root') as unknown as {
      key: ParsedKey;
    };
    const data = Buffer.from('session');
    expect(key.sign(data, 'sha1')).toEqual(new Error(sha1Refusal));
    expect(key.sign(data)).toEqual(new Error(sha1Refusal));
    expect(key.sign(data, 'sha512')).toBeInstanceOf(Buffer);
  });

  test('each accepted algorithm works', async () => {
    for (const hmac of ALGORITHMS.hmac) {
      await using server = await TestServer.start({ algorithms: { ...ctr, hmac: [hmac] } });
      await using _ = await openSession({ target: server.target() }, quiet);
    }
    for (const kex of ALGORITHMS.kex.slice(0, 5)) {
      await using server = await TestServer.start({ algorithms: { kex: [kex] } });
      await using _ = await openSession({ target: server.target() }, quiet);
    }
    for (const cipher of ALGORITHMS.cipher) {
      await using server = await TestServer.start({ algorithms: { cipher: [cipher] } });
      await using _ = await openSession({ target: server.target() }, quiet);
    }
    for (const name of Object.values(ALGORITHMS).flat()) {
      expect(name).not.toMatch(/sha1|md5|cbc|arcfour|group1-|3des/);
    }
  });
});
