import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { expect, test } from 'vitest';
import { openDelayProxy } from '../../../bench/delay-proxy.ts';
import { compare } from '../../../bench/peers/table.ts';
import { spentByChildren, timeProcess } from '../../../bench/time-process.ts';

test('behind the proxy, a question takes its round trip, and nothing is lost or swapped', async () => {
  // Greets as sshd does, and returns what it gets.
  const server = createServer((socket) => {
    socket.write('hello ');
    socket.pipe(socket);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  {
    const distance = { milliseconds: 200, slowStart: false };
    await using proxy = await openDelayProxy({ host: '127.0.0.1', port }, distance);
    const begun = performance.now();
    const passed = () => performance.now() - begun;
    const client = connect(proxy.port, '127.0.0.1');
    const [greeting] = await once(client, 'data');
    expect(String(greeting)).toBe('hello ');
    // The connection takes one and a half, the greeting half of one. Timers may be a little early.
    expect(passed()).toBeGreaterThan(390);

    const asked = passed();
    const text = Array.from({ length: 50 }, (_, number) => `${number};`);
    for (const part of text) client.write(part);
    client.end();
    expect((await buffer(client)).toString()).toBe(text.join(''));
    expect(passed() - asked).toBeGreaterThan(190);
  }
  await new Promise((resolve) => server.close(resolve));
});

test('a connection ends with the server behind the proxy', async () => {
  const server = createServer((socket) => socket.resetAndDestroy()).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const distance = { milliseconds: 0, slowStart: false };
  await using proxy = await openDelayProxy({ host: '127.0.0.1', port }, distance);
  const client = connect(proxy.port, '127.0.0.1');
  expect(await buffer(client).catch(() => Buffer.of())).toHaveLength(0);
  await new Promise((resolve) => server.close(resolve));
});

test('the processor time of a child counts once it has ended', async () => {
  const before = spentByChildren();
  const spin = 'const end = process.cpuUsage().user + 3e5; while (process.cpuUsage().user < end);';
  const { code } = await timeProcess(process.execPath, ['-e', spin]);
  expect(code).toBe(0);
  expect(spentByChildren() - before).toBeGreaterThan(0.25);
});

test('the table compares medians with that of Celeriac', () => {
  const measured = [
    { name: 'ssh host true', seconds: [0.4, 0.2, 9], processor: [0.01] },
    { name: 'deploy-worker', seconds: [0.8, 0.7, 0.9], processor: [0.4] },
    { name: 'other', seconds: [8, 4], processor: [3, 4] },
  ];
  const lines = compare(measured, 'deploy-worker').map((line) => line.trim().split(/ {2,}/));
  expect(lines).toEqual([
    ['median', 'range', '× deploy-worker', 'processor'],
    ['ssh host true', '0.40 s', '0.20 s to 9.00 s', '0.50', '0.01 s'],
    ['deploy-worker', '0.80 s', '0.70 s to 0.90 s', '1.00', '0.40 s'],
    ['other', '6.00 s', '4.00 s to 8.00 s', '7.50', '3.50 s'],
  ]);
});
