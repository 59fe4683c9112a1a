import { once } from 'node:events';
import net, { type AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Machine, startMachine } from '../../sandbox/machine.ts';
import { openAgent } from '../../src/adapters/agent/open-agent.ts';
import type { SshTarget } from '../../src/adapters/ssh/ssh-target.ts';
import { hostProgram } from '../../src/generated/host-program.ts';
import { hostRefusal } from '../lib/refusals.ts';
import { countLogins, watchLogins } from './lib/logins.ts';
import { Terminal } from './lib/terminal.ts';

let bastion: Machine;
let server: Machine;
/** What the bastion can reach of the server: this machine passes it on, as a router would. */
let road: net.Server;
let target: SshTarget;
const quiet = () => {};

beforeAll(async () => {
  [bastion, server] = await Promise.all([
    startMachine({ name: 'jump-bastion', kind: 'container' }),
    startMachine({ name: 'jump-server', kind: 'container' }),
  ]);
  await Promise.all([watchLogins(bastion), watchLogins(server)]);
  road = net.createServer((socket) => {
    const onward = net.connect(server.sshPort, server.host);
    for (const end of [socket, onward]) end.on('error', () => end.destroy());
    socket.pipe(onward).pipe(socket);
  });
  road.listen(0, '0.0.0.0');
  await once(road, 'listening');
  // The other end of the bastion's only link is this machine.
  const seen = await bastion.run('echo "$SSH_CONNECTION"');
  const host = seen.stdout.split(' ')[0] ?? '';
  const { port } = road.address() as AddressInfo;
  const pins = server.knownHosts.replaceAll(/^\S+/gm, `[${host}]:${port}`);
  target = {
    host,
    port,
    user: 'root',
    key: server.key,
    knownHosts: `${bastion.knownHosts}\n${pins}`,
    jump: { host: bastion.host, port: bastion.sshPort, user: 'deploy' },
  };
});

afterAll(async () => {
  road?.close();
  await Promise.all([bastion?.stop(), server?.stop()]);
});

test('the agent works through a jump host, with one login to each', async () => {
  const { logins } = await countLogins(server, 'root', async () => {
    await using agent = await openAgent({ target, program: hostProgram }, quiet);
    expect(agent.hello).toMatchObject({ hello: 'celeriac', user: 'root' });
    const { host } = await agent.look({ host: {} });
    expect(host.os.id).toBe('debian');
    expect(agent.traffic.handshakes).toBe(2);
  });
  expect(logins).toMatchObject({ accepted: 1, failed: 0 });
});

test('the terminal finds host and jump host in the configuration of ssh', async () => {
  using terminal = new Terminal({
    config: [
      'Host hop',
      `  HostName ${bastion.host}`,
      `  Port ${bastion.sshPort}`,
      '  User deploy',
      'Host shop',
      `  HostName ${target.host}`,
      `  Port ${target.port}`,
      '  User root',
      '  ProxyJump hop',
    ],
    key: server.key,
    knownHosts: target.knownHosts,
  });
  const { logins } = await countLogins(server, 'root', async () => {
    const { code, err } = await terminal.run(['releases', '--host', 'shop', '--json']);
    // It has looked there.
    expect(err).toContain('celery-worker.service: no such unit on the host');
    expect(code).toBe(2);
  });
  expect(logins).toMatchObject({ accepted: 1, failed: 0 });
});

test('a jump host that forbids forwarding is told, with what to allow', async () => {
  await bastion.writeFile('/etc/ssh/sshd_config.d/00-no.conf', 'AllowTcpForwarding no\n');
  await bastion.run('systemctl restart ssh');
  const error = await hostRefusal(openAgent({ target, program: hostProgram }, quiet));
  expect(error.message).toContain('refused to forward the connection to');
  expect(error.failure.next).toContain('AllowTcpForwarding');
});

test('an sshd with hmac-sha1 only gets no login, and is told what is expected', async () => {
  const legacy = 'MACs hmac-sha1\nCiphers aes128-ctr\n';
  await server.writeFile('/etc/ssh/sshd_config.d/00-legacy.conf', legacy);
  await server.run('systemctl restart ssh');
  const { host, sshPort: port, key, knownHosts } = server;
  const direct = { host, port, user: 'root', key, knownHosts };
  const error = await hostRefusal(openAgent({ target: direct, program: hostProgram }, quiet));
  expect(error.message).toContain('offers no MAC that is accepted');
  expect(error.message).toContain('got only hmac-sha1');
  expect(error.message).toContain('hmac-sha2-256');
  expect(error.failure.next).toContain('MACs');
});
