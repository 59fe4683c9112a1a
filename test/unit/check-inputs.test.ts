import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { runBundle } from '../lib/bundle.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'celeriac-inputs-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

type Given = Readonly<Record<string, string>>;

const run = (inputs: Given, fleet = '') => {
  writeFileSync(join(folder, 'fleet.yml'), fleet);
  return runBundle(
    'check-inputs',
    { host: 'web1', 'fleet-file': 'fleet.yml', ...inputs },
    { env: { GITHUB_WORKSPACE: folder } },
  );
};

describe('check-inputs, as its committed bundle', () => {
  it.each<[Given, string]>([
    [{}, ''],
    [{ 'memory-max': '1G', gate: 'task', 'gate-task': 'tasks.probe' }, 'hosts: { web1: }'],
    // To deploy it is no limit, and the gate is not told; in the fleet file, verify would read it.
    [{ 'memory-max': 'off' }, ''],
    // What the host remembers is rolled back, whatever is wrong with a deploy.
    [{ 'roll-back': 'previous' }, 'deploy-worker: { start-limit-interval: 1s }'],
  ])('takes %j with %j, and says so', async (inputs, fleet) => {
    const { code, log } = await run(inputs, fleet);
    expect(code, log).toBe(0);
    expect(log).toContain('the inputs of every step are valid');
  });

  it.each<[Given, string, string, string]>([
    [{ checks: '- name: x\n  comand: y' }, '', 'input checks, line 2, column 3', '`comand`'],
    [{}, 'hosts:\n  web1:\n    verify:\n      gate: task', 'fleet.yml:4:13', 'needs `gate-task`'],
    [{}, 'stores:\n  - database: /srv/a.db\n    tabels: {}', 'fleet.yml:3:5', '`tabels`'],
    [{ 'memory-high': '2G', 'memory-max': '1G' }, '', 'input memory-high', 'is not below'],
    [{ source: 'upload' }, '', 'input deploy-to', '`source: upload` needs `deploy-to`'],
    [{ statuses: 'done' }, '', 'input statuses', 'has ended'],
    [{ 'swap-path': '/proc/swap' }, '', 'input swap-path', 'invalid'],
  ])('refuses %j with %j, in one annotation', async (inputs, fleet, where, problem) => {
    const { code, log } = await run(inputs, fleet);
    expect(code).toBe(1);
    expect(log).toContain(where);
    expect(log).toContain(problem);
    expect(log.match(/^::error/gm)).toHaveLength(1);
    expect(log).not.toMatch(/^\s+at .*:\d+:\d+/m);
  });

  it('tells the webhook, as the steps that no longer run would', async () => {
    const told: string[] = [];
    const server = createServer((request, response) => {
      request.setEncoding('utf8');
      request.on('data', (text: string) => told.push(text));
      request.on('end', () => response.end());
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const webhook = `http://127.0.0.1:${port}/hook`;
    try {
      const failed = await run({ webhook, gate: 'task', unit: 'mail.service' });
      expect(failed.code).toBe(1);
      expect(told.join('')).toContain('`gate: task` needs `gate-task`');
      expect(told.join('')).toContain('mail.service');
      expect(failed.log).toContain(`::add-mask::${webhook}`);
      told.length = 0;
      // How a deploy ends, its own steps tell.
      const done = await run({ webhook, 'webhook-when': 'always' });
      expect([done.code, told]).toEqual([0, []]);
    } finally {
      server.close();
    }
  });
});
