import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Machine, startMachine, type User } from '../../sandbox/machine.ts';
import type { AgentOptions } from '../../src/adapters/agent/agent-options.ts';
import { openAgent } from '../../src/adapters/agent/open-agent.ts';
import type { Clock } from '../../src/adapters/clock.ts';
import type { SshTarget } from '../../src/adapters/ssh/ssh-target.ts';
import { hostProgram } from '../../src/generated/host-program.ts';
import { seconds } from '../../src/model/units.ts';
import type { Agent } from '../../src/ports/agent.ts';
import { hostRefusal } from '../lib/refusals.ts';
import { countLines, countLogins, watchLogins, watchSshd } from './lib/logins.ts';

let machine: Machine;
const folder = mkdtempSync(join(tmpdir(), 'celeriac-host-'));
const quiet = () => {};
const QUERY = { host: {} } as const;

beforeAll(async () => {
  machine = await startMachine({ name: 'ssh-session' });
  await watchLogins(machine);
});

afterAll(async () => {
  rmSync(folder, { recursive: true });
  await machine?.stop();
});

function target(user: User, changes: Partial<SshTarget> = {}): SshTarget {
  const { host, sshPort, key, knownHosts } = machine;
  return { host, port: sshPort, user, key, knownHosts, ...changes };
}

function open(user: User, changes: Partial<AgentOptions> = {}): Promise<Agent> {
  return openAgent({ target: target(user), program: hostProgram, ...changes }, quiet);
}

/** Processes on the host that run the agent; sudo's own are not counted. */
async function countAgents(): Promise<number> {
  const command = "ps -eo comm=,args= | grep -c '^python3 .*celeriac_host/session/loader[.]py'";
  return Number((await machine.run(command, { allowFailure: true })).stdout.trim());
}

function makeKey(name: string): { readonly private: string; readonly public: string } {
  const path = join(folder, name);
  execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', '', '-f', path]);
  return {
    private: readFileSync(path, 'utf8'),
    public: readFileSync(`${path}.pub`, 'utf8').trim(),
  };
}

describe('a login that works', () => {
  test.each(['root', 'deploy'] as const)('%s: one handshake, one exec', async (user) => {
    const { logins } = await countLogins(machine, user, async () => {
      await using agent = await open(user);
      expect(agent.hello).toMatchObject({ hello: 'celeriac', user: 'root' });
      const first = await agent.look(QUERY);
      expect(first.host.os.id).toBe('debian');
      await agent.look(QUERY);
      expect(await countAgents()).toBe(1);
      expect(agent.traffic).toMatchObject({ handshakes: 1, execs: 1, messagesSent: 2 });
    });
    expect(logins).toEqual({ accepted: 1, commands: 1, failed: 0 });
    await expect.poll(countAgents, { timeout: 120_000 }).toBe(0);
  });

  test('is not disturbed by output of .bashrc', async () => {
    await machine.run('cp /root/.bashrc /root/.bashrc.kept');
    await machine.run('sed -i \'1i echo Welcome; printf "on "\' /root/.bashrc');
    try {
      await using agent = await open('root');
      expect((await agent.look(QUERY)).host.os.id).toBe('debian');
    } finally {
      await machine.run('mv /root/.bashrc.kept /root/.bashrc');
    }
  });
});

describe('a host that cannot run the agent', () => {
  test('says that nosudo may not use sudo', async () => {
    const error = await hostRefusal(open('nosudo'));
    expect(error.message).toContain('nosudo may not use sudo without a password');
    expect(error.failure.next).toContain('NOPASSWD');
    expect(await countAgents()).toBe(0);
  });

  test('says that there is no python3', async () => {
    await machine.run('mv /usr/bin/python3 /usr/bin/python3.away');
    try {
      for (const user of ['root', 'deploy'] as const) {
        const error = await hostRefusal(open(user));
        expect(error.message).toContain('has no python3');
      }
    } finally {
      await machine.run('mv /usr/bin/python3.away /usr/bin/python3');
    }
  });

  test('says that a user has no login shell', async () => {
    await machine.run('usermod -s /usr/sbin/nologin nosudo');
    try {
      expect((await hostRefusal(open('nosudo'))).message).toContain('nosudo has no login shell');
    } finally {
      await machine.run('usermod -s /bin/bash nosudo');
    }
  });

  test('says that a key has a forced command', async () => {
    await machine.run('cp ~nosudo/.ssh/authorized_keys /root/kept');
    await machine.run(`sed -i 's/^/command="echo Hello" /' ~nosudo/.ssh/authorized_keys`);
    try {
      const error = await hostRefusal(open('nosudo'));
      expect(error.message).toContain('ended with exit code 0 without running');
      expect(error.failure.next).toContain('forced command');
      expect(error.failure.evidence).toEqual(['stdout: Hello']);
    } finally {
      await machine.run('cat /root/kept > ~nosudo/.ssh/authorized_keys');
    }
  });

  test('says that an account has expired', async () => {
    await machine.run('chage -E 0 nosudo');
    try {
      const error = await hostRefusal(open('nosudo'));
      expect(error.message).toContain('while nosudo was logging in');
      expect(error.failure.evidence?.join('\n')).toContain('expired');
    } finally {
      await machine.run('chage -E -1 nosudo');
    }
  });
});

describe('a host with unexpected keys', () => {
  test('with another host key: no login', async () => {
    const { public: line } = makeKey('host');
    const knownHosts = `${machine.knownName} ${line}`;
    const { lines } = await watchSshd(machine, async () => {
      const error = await hostRefusal(open('root', { target: target('root', { knownHosts }) }));
      expect(error.message).toContain('is not the one in `known-hosts`');
      const shown = await machine.run('ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub');
      expect(error.message).toContain(`got ${shown.stdout.split(' ')[1]} (ssh-ed25519)`);
    });
    expect(countLines(lines, /^(Accepted|Failed) /)).toBe(0);
    expect(countLines(lines, /^Connection from /)).toBe(1);
  });

  test('that does not know the login key: only one attempt', async () => {
    const pair = makeKey('login');
    const { lines } = await watchSshd(machine, async () => {
      const error = await hostRefusal(
        open('deploy', { target: target('deploy', { key: pair.private }) }),
      );
      expect(error.message).toContain('refused the login of deploy');
      expect(error.failure.next).toContain(pair.public.trim());
    });
    expect(countLines(lines, /^Connection from /)).toBe(1);
    expect(countLines(lines, /^Failed publickey for deploy /)).toBe(1);
    expect(countLines(lines, /^Disconnected from authenticating user deploy /)).toBe(1);
  });
});

describe('a host that cannot be reached', () => {
  const slept: number[] = [];
  const clock: Clock = {
    now: () => seconds(0),
    epoch: () => seconds(0),
    sleep: async (duration) => {
      slept.push(duration);
    },
  };

  test('because the network is down', async () => {
    await machine.cutLink();
    try {
      const policy = { attempts: 2, connectTimeout: seconds(2) };
      const error = await hostRefusal(open('root', { policy, clock }));
      expect(error.message).toContain('no answer within 2 s (2 attempts)');
      expect(slept).toEqual([2]);
    } finally {
      await machine.restoreLink();
    }
  });

  test('any more during a request: the request fails, and the agent exits', async () => {
    await using agent = await open('root');
    const sshdPid = await machine.run(`ps -o ppid= ${agent.hello.pid}`);
    await machine.run(`kill -KILL ${sshdPid.stdout.trim()}`);
    const error = await hostRefusal(agent.look(QUERY));
    expect(error.message).toMatch(/Step: (?:look at host|wait for the next request)\./);
    await expect.poll(countAgents, { timeout: 120_000 }).toBe(0);
  });
});
