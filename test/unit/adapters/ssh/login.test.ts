import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { prepareLogin } from '../../../../src/adapters/ssh/login.ts';
import { openSession } from '../../../../src/adapters/ssh/ssh-session.ts';
import { ConfigError } from '../../../../src/model/errors.ts';
import { hostRefusal } from '../../../lib/refusals.ts';
import { KEYS, publicPart, TestServer } from '../ssh-server.ts';

const quiet = () => {};

afterEach(() => vi.unstubAllEnvs());

/** A real ssh-agent that holds these keys; SSH_AUTH_SOCK names it. */
async function startAgent(...keys: readonly string[]): Promise<AsyncDisposable> {
  const folder = mkdtempSync(join(tmpdir(), 'celeriac-agent-'));
  const socket = join(folder, 'socket');
  const agent = spawn('ssh-agent', ['-D', '-a', socket], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(agent.stdout, 'data');
  vi.stubEnv('SSH_AUTH_SOCK', socket);
  for (const [index, key] of keys.entries()) {
    const file = join(folder, `key-${index}`);
    writeFileSync(file, key, { mode: 0o600 });
    execFileSync('ssh-add', ['-q', file]);
    rmSync(file);
  }
  return {
    [Symbol.asyncDispose]: async () => {
      const gone = once(agent, 'exit');
      agent.kill();
      await gone;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function configRefusal(work: Promise<unknown>): Promise<ConfigError> {
  const error = await work.then(
    () => null,
    (problem: unknown) => problem,
  );
  expect(error).toBeInstanceOf(ConfigError);
  return error as ConfigError;
}

describe('without a key', () => {
  test('the keys of the agent are tried in turn', async () => {
    await using _agent = await startAgent(KEYS.otherLogin.private, KEYS.login.private);
    await using server = await TestServer.start();
    await using session = await openSession({ target: server.target({ key: '' }) }, quiet);
    expect(session.handshakes).toBe(1);
    expect(server.logins).toBe(2);
  });

  test('an RSA key of the agent signs with SHA-2', async () => {
    await using _agent = await startAgent(KEYS.rsa.private);
    await using server = await TestServer.start({ authorized: KEYS.rsa });
    await using session = await openSession({ target: server.target({ key: '' }) }, quiet);
    expect(session.handshakes).toBe(1);
  });

  test('a refusal names every key of the agent', async () => {
    await using _agent = await startAgent(KEYS.otherLogin.private, KEYS.ecdsa.private);
    await using server = await TestServer.start();
    const error = await hostRefusal(openSession({ target: server.target({ key: '' }) }, quiet));
    expect(error.message).toMatch(/SHA256:\S+ \(ssh-ed25519\) or SHA256:\S+ \(ecdsa-/);
    expect(error.failure.next).toContain(publicPart(KEYS.otherLogin));
  });

  test('and without an agent, nothing connects', async () => {
    vi.stubEnv('SSH_AUTH_SOCK', '');
    await using server = await TestServer.start();
    const error = await configRefusal(openSession({ target: server.target({ key: '' }) }, quiet));
    expect(error.where).toBe('input ssh-key');
    expect(error.message).toContain('no ssh-agent');
    expect(server.connections).toBe(0);
  });

  test('an agent without keys, or that is gone, is an error of the input', async () => {
    await using server = await TestServer.start();
    const target = server.target({ key: '' });
    {
      await using _agent = await startAgent();
      const error = await configRefusal(prepareLogin(target, process.env.SSH_AUTH_SOCK ?? ''));
      expect(error.message).toContain('holds no key');
    }
    const error = await configRefusal(prepareLogin(target, '/nowhere/agent'));
    expect(error.message).toContain('cannot be reached');
  });

  test('a key file stands in for an agent without keys, and only for that', async () => {
    await using server = await TestServer.start();
    const target = server.target({ key: '', keyWithoutAgent: KEYS.login.private });
    {
      await using _agent = await startAgent();
      await using session = await openSession({ target }, quiet);
      expect(session.handshakes).toBe(1);
    }
    await using _agent = await startAgent(KEYS.otherLogin.private);
    await hostRefusal(openSession({ target }, quiet));
  });
});

describe('a jump host', () => {
  const pin = (...servers: readonly TestServer[]) =>
    servers.map((each) => each.target().knownHosts).join('');

  test('passes the connection on; both keys are pinned, and both count', async () => {
    await using bastion = await TestServer.start({ forwards: true });
    await using server = await TestServer.start({ hostKeys: [KEYS.ecdsa] });
    const knownHosts = `${pin(bastion)}[127.0.0.1]:${server.port} ${publicPart(KEYS.ecdsa)}\n`;
    const jump = { host: '127.0.0.1', port: bastion.port, user: 'jumper' };
    await using session = await openSession({ target: server.target({ jump, knownHosts }) }, quiet);
    expect(session.handshakes).toBe(2);
    expect([bastion.logins, server.logins]).toEqual([1, 1]);
    await session.close();
    // Nothing stays open: both end.
    expect(session.execs).toBe(0);
  });

  test('with another host key gets no login, and the server no connection', async () => {
    await using bastion = await TestServer.start({ forwards: true, hostKeys: [KEYS.otherEd25519] });
    await using server = await TestServer.start();
    const jump = { host: '127.0.0.1', port: bastion.port, user: null };
    const target = server.target({ jump, knownHosts: pin(bastion, server) });
    const error = await hostRefusal(openSession({ target }, quiet));
    expect(error.message).toContain(`the host key of 127.0.0.1:${bastion.port} is not the one`);
    expect([bastion.logins, server.connections]).toEqual([0, 0]);
  });

  test('a server behind it with another host key gets no login', async () => {
    await using bastion = await TestServer.start({ forwards: true });
    await using server = await TestServer.start({ hostKeys: [KEYS.otherEd25519] });
    const jump = { host: '127.0.0.1', port: bastion.port, user: null };
    const target = server.target({ jump, knownHosts: pin(bastion, server) });
    const error = await hostRefusal(openSession({ target }, quiet));
    expect(error.message).toContain(`the host key of 127.0.0.1:${server.port} is not the one`);
    expect(server.logins).toBe(0);
  });

  test('that is not pinned is refused before anything connects', async () => {
    await using bastion = await TestServer.start({ forwards: true });
    await using server = await TestServer.start();
    const jump = { host: '127.0.0.1', port: bastion.port, user: null };
    const error = await configRefusal(openSession({ target: server.target({ jump }) }, quiet));
    expect(error.message).toContain(`no key for [127.0.0.1]:${bastion.port}`);
    expect([bastion.connections, server.connections]).toEqual([0, 0]);
  });

  test('that does not forward is told, with what to allow', async () => {
    await using bastion = await TestServer.start();
    await using server = await TestServer.start();
    const jump = { host: '127.0.0.1', port: bastion.port, user: null };
    const target = server.target({ jump, knownHosts: pin(bastion, server) });
    const policy = { attempts: 1 };
    const error = await hostRefusal(openSession({ target, policy }, quiet));
    expect(error.message).toMatch(/refused to pass the connection on|cannot connect to it/);
  });

  test('behind which nothing listens is named', async () => {
    await using bastion = await TestServer.start({ forwards: true });
    const free = createServer().listen(0, '127.0.0.1');
    await once(free, 'listening');
    const { port } = free.address() as { port: number };
    free.close();
    await once(free, 'close');
    const jump = { host: '127.0.0.1', port: bastion.port, user: null };
    const knownHosts = `${pin(bastion)}[127.0.0.1]:${port} ${publicPart(KEYS.ed25519)}\n`;
    const target = { ...bastion.target({ jump, knownHosts }), port };
    const error = await hostRefusal(openSession({ target, policy: { attempts: 1 } }, quiet));
    expect(error.message).toContain(`127.0.0.1:${bastion.port}`);
    expect(error.message).toContain(`127.0.0.1:${port}`);
  });
});
