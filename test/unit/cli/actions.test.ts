import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { epochSeconds } from '../../../src/model/units.ts';
import { fileFact, now, unitFact } from '../verify/facts.ts';
import {
  closed,
  deployed,
  nothingBefore,
  release,
  TerminalHost,
  transaction,
} from './terminal-host.ts';

const folder = mkdtempSync(join(tmpdir(), 'celeriac-actions-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function fleet(text: string): readonly string[] {
  const file = join(folder, 'fleet.yml');
  writeFileSync(file, text);
  return ['--fleet-file', file];
}

/** A host whose swappiness is not as desired. */
function swapHost(swappiness: string) {
  const host = new TerminalHost();
  const GiB = 1024 ** 3;
  const file = { kind: 'file', mode: '0644', owner: 'root', group: 'root', sizeBytes: 10 };
  host.answers = {
    swap: {
      file: {
        kind: 'file',
        sizeBytes: 2 * GiB,
        allocatedBytes: 2 * GiB,
        mode: '0600',
        owner: 'root',
        formatted: true,
        blank: false,
      },
      active: [
        { path: '/swapfile', type: 'file', sizeBytes: 2 * GiB - 4096, usedBytes: 0, priority: -2 },
      ],
      fstab: { ...file, text: '/dev/vda / ext4 rw 0 1\n/swapfile none swap sw 0 0\n', sha256: 'f' },
      filesystem: { type: 'ext4', mountPoint: '/', sizeBytes: 50 * GiB, freeBytes: 42 * GiB },
    },
    sysctl: {
      values: { 'vm.swappiness': swappiness },
      readOnly: [],
      settings: [
        {
          name: 'vm.swappiness',
          value: swappiness,
          path: '/etc/sysctl.d/99-zz-celeriac.conf',
          line: 2,
        },
      ],
    },
    files: { '/etc/sysctl.d/99-zz-celeriac.conf': { kind: 'absent' } },
  };
  return host;
}

describe('celeriac provision', () => {
  test('shows its plan, applies it as the action does, and reports', async () => {
    const host = swapHost('60');
    const { code, out } = await host.run('provision');
    expect(code).toBe(0);
    expect(out).toContain('vm.swappiness');
    expect(out).toContain(`transaction ${transaction}`);
    expect(host.metas).toMatchObject([{ action: 'provision', actor: 'root' }]);
    expect(host.applied.flat().map(({ op }) => op)).toContain('set-sysctl');
  });

  test('a dry run changes nothing, and its exit code says that there is something to do', async () => {
    const host = swapHost('60');
    expect((await host.run('provision', '--dry-run')).code).toBe(3);
    expect(host.applied).toEqual([]);
    expect((await swapHost('10').run('provision', '--dry-run')).code).toBe(0);
  });

  test('--json prints plan and outcome as one document; people read stderr', async () => {
    const host = swapHost('60');
    const { out, err } = await host.run('provision', '--json');
    const document = JSON.parse(out);
    expect(document).toMatchObject({
      command: 'provision',
      dryRun: false,
      exitCode: 0,
      outputs: { changed: 'true', transaction },
      error: null,
      results: [{ outcome: { transaction, result: 'committed' } }],
    });
    expect(document.results[0].plan.operations.map(({ op }: { op: string }) => op)).toContain(
      'set-sysctl',
    );
    expect(err).toContain('vm.swappiness');
  });

  test('--json prints the plan and the failure of a transaction that was undone', async () => {
    const host = swapHost('60');
    const failure = { index: 0, message: 'read-only file system' };
    host.apply = async () => ({ transaction, result: 'undone', steps: [], failure });
    const { code, out, err } = await host.run('provision', '--json');
    expect(code).toBe(1);
    expect(JSON.parse(out)).toMatchObject({
      exitCode: 1,
      results: [{ outcome: { result: 'undone' } }],
      error: { kind: 'host', message: 'read-only file system' },
    });
    expect(err).toContain('read-only file system');
  });

  test('settings come from the fleet file, unless a flag sets them', async () => {
    const host = swapHost('60');
    const file = fleet('provision:\n  swappiness: 60\n');
    expect((await host.run('provision', '--dry-run', ...file)).code).toBe(0);
    expect((await host.run('provision', '--dry-run', ...file, '--swappiness', '10')).code).toBe(3);
  });

  test('a fleet file of another host is refused', async () => {
    const host = swapHost('60');
    const { code, err } = await host.run('provision', ...fleet('host: vps.example.com\n'));
    expect([code, host.applied.length]).toEqual([2, 0]);
    expect(err).toContain('is for vps.example.com');
    expect(err).toContain('--fleet-file none');
  });

  test('an error about a value of the fleet file names its line', async () => {
    const { code, err } = await swapHost('60').run(
      'provision',
      ...fleet('provision:\n  swappiness: 1000\n'),
    );
    expect(code).toBe(2);
    expect(err).toContain('fleet.yml:2:');
  });
});

describe('what an earlier run left', () => {
  test('is told once, and acknowledged', async () => {
    const host = swapHost('10');
    const past = { ...deployed('celery-worker.service'), state: 'undone', undoneWhy: 'no verdict' };
    host.answers.past = {
      untold: [past],
      open: [],
      working: null,
      awaiting: [],
      leftovers: [],
      notices: {},
    };
    const { err } = await host.run('provision');
    expect(err).toContain('was undone by the host itself: no verdict');
    expect(host.acknowledged).toEqual([[transaction]]);
    const looked = swapHost('10');
    looked.answers.past = host.answers.past;
    await looked.run('provision', '--dry-run');
    expect(looked.acknowledged).toEqual([]);
  });
});

describe('Ctrl+C says in which state the host is', () => {
  test('before anything was asked', async () => {
    const host = swapHost('60');
    host.interrupt.abort();
    const { code, err } = await host.run('provision');
    expect([code, err]).toEqual([130, 'interrupted; nothing was changed on the host\n']);
  });

  test('while the transaction runs', async () => {
    const host = swapHost('60');
    host.apply = async (onProgress) => {
      onProgress({ kind: 'opened', transactions: [transaction], live: '/x' });
      host.interrupt.abort();
      throw closed();
    };
    const { code, err, out } = await host.run('provision', '--json');
    expect(code).toBe(130);
    expect(err).toContain(`transaction ${transaction} continues on the host until it is committed`);
    // Nobody knows the end of it.
    expect(out).toBe('');
  });
});

test('Ctrl+C while a release is confirmed does not say that nothing changed', async () => {
  const host = new TerminalHost();
  host.awaiting = true;
  host.confirm = async () => {
    host.interrupt.abort();
    throw closed();
  };
  const { code, err } = await host.run('verify', '--gate', 'none', '--database', 'none');
  expect(code).toBe(130);
  expect(err).toContain('work that has begun on the host continues there');
  expect(err).not.toContain('nothing was changed');
});

describe('celeriac rollback', () => {
  test('with nothing else, it undoes the release that runs', async () => {
    const host = new TerminalHost();
    const { code, out, err } = await host.run('rollback');
    expect([code, host.undone]).toEqual([0, [[transaction]]]);
    expect(out).toContain('Undone: release 1 (abc1234)');
    expect(err).toContain('next: celeriac status');
    expect(host.metas).toMatchObject([{ action: 'deploy-worker', unit: 'celery-worker.service' }]);
  });

  test('finds the only unit that was deployed', async () => {
    const host = new TerminalHost();
    host.answers.transactions = [
      deployed('shop.service'),
      deployed('shop.service', '20260117T110000-4f2a'),
    ];
    const { code, err } = await host.run('rollback');
    expect([code, host.metas[0]?.unit]).toEqual([0, 'shop.service']);
    expect(err).toContain('unit: shop.service');
    expect(err).toContain('next: celeriac status --unit shop.service');
  });

  test('does not choose among several', async () => {
    const host = new TerminalHost();
    host.answers.transactions = [deployed('shop.service'), deployed('mail.service')];
    const { code, err } = await host.run('rollback');
    expect([code, host.undone]).toEqual([2, []]);
    expect(err).toContain('several units on this host: shop.service, mail.service');
    expect((await host.run('rollback', '--unit', 'mail')).code).toBe(0);
  });

  test('takes the unit from the fleet file', async () => {
    const host = new TerminalHost();
    host.answers.transactions = [deployed('shop.service'), deployed('mail.service')];
    await host.run('rollback', ...fleet('unit: mail.service\ndeploy-worker:\n  source: git\n'));
    expect(host.metas[0]?.unit).toBe('mail.service');
  });

  test('a dry run shows what would be undone', async () => {
    const host = new TerminalHost();
    const { code, out } = await host.run('rollback', '--dry-run', '--json');
    expect([code, host.undone]).toEqual([3, []]);
    const { results } = JSON.parse(out);
    expect(results[0].sentence).toContain('would be undone');
    expect(results[0].details[0].text).toContain('unit');
  });

  test.each([
    ['to', ['--to', 'yesterday'], 'invalid `to`'],
    ['to', ['--to', '9'], 'release 9 does not exist'],
  ])('refuses an impossible %s', async (_, words, problem) => {
    const host = new TerminalHost();
    const { code, err } = await host.run('rollback', ...words);
    expect([code, host.undone]).toEqual([2, []]);
    expect(err).toContain(problem);
    expect(err).toContain('--to');
  });
});

describe('celeriac verify', () => {
  const gate = ['--gate', 'none', '--database', 'none'];

  test('checks, confirms the release that awaits its verdict, and prints the report', async () => {
    const host = new TerminalHost();
    host.awaiting = true;
    const { code, out } = await host.run('verify', ...gate, '--json');
    expect([code, host.confirmed]).toEqual([0, 1]);
    expect(JSON.parse(out)).toMatchObject({ verdict: { conclusion: 'healthy' } });
  });

  test('an unhealthy worker is not confirmed, and has an exit code of its own', async () => {
    const host = new TerminalHost();
    host.awaiting = true;
    host.answers.unit = unitFact({ activeState: 'failed' });
    const { code, out, err } = await host.run('verify', ...gate);
    expect([code, host.confirmed]).toEqual([3, 0]);
    expect(out).toContain('Not healthy');
    expect(err).toContain('not confirmed');
  });
});

describe('celeriac doctor', () => {
  const words = ['doctor', '--database', 'none'];

  test('changes nothing, sends nothing and confirms nothing', async () => {
    const host = new TerminalHost();
    host.awaiting = true;
    host.answers.releases = {
      releases: [release(1, { state: 'awaiting' })],
      awaiting: { transactions: [transaction], deadline: epochSeconds(now + 500) },
      guarded: true,
    };
    const { code, out } = await host.run(
      ...words,
      ...fleet('verify:\n  gate: task\n  gate-task: t.x\n'),
    );
    expect([code, host.confirmed, host.probes.length, host.applied.length]).toEqual([0, 0, 0, 0]);
    expect(host.acknowledged).toEqual([]);
    expect(out).toContain('Healthy');
  });

  test('tells a fault of the unit, what it leads to, and what to do', async () => {
    const host = new TerminalHost();
    const text = '[Service]\nExecStart=/usr/bin/celery -A celery_app worker --purge\n';
    host.answers.unit = unitFact({ fragment: fileFact(text) });
    const { code, out } = await host.run(...words);
    expect(code).toBe(3);
    expect(out).toMatch(/^✗ .*purge/im);
    expect(out).toContain('celery-worker.service:2');
    expect(out).toContain('See docs/reference/unit-rules/purge.md');
    const accepted = await host.run(...words, '--accept-rules', 'purge');
    expect(accepted.out).not.toMatch(/^✗ .*purge/im);
  });

  test('--gate sends probes, as asked; --json prints the report', async () => {
    const host = new TerminalHost();
    const { code, out } = await host.run(
      ...words,
      '--gate',
      'task',
      '--gate-task',
      't.x',
      '--json',
    );
    expect(host.probes.length).toBeGreaterThan(0);
    const ids = JSON.parse(out).checks.map(({ id }: { id: string }) => id);
    expect(ids.filter((id: string) => /^(?:rule-|unit-rules$)/.test(id))).not.toEqual([]);
    expect([0, 3, 4]).toContain(code);
    expect(host.confirmed).toBe(0);
  });

  test('--gate acknowledges nothing, and runs no command', async () => {
    const host = new TerminalHost();
    const past = { ...deployed('celery-worker.service'), state: 'undone', undoneWhy: 'no verdict' };
    host.answers.past = { ...nothingBefore, untold: [past] };
    const checks = '[{ name: migrated, command: [./manage, migrate] }]';
    const gate = ['--gate', 'task', '--gate-task', 't.x', '--checks', checks];
    const { out, err } = await host.run(...words, ...gate, '--json');
    expect(host.probes.length).toBeGreaterThan(0);
    expect(err).toContain('was undone by the host itself: no verdict');
    expect([host.acknowledged, host.asked.includes('command')]).toEqual([[], false]);
    expect(JSON.parse(out).checks).toContainEqual(
      expect.objectContaining({ title: 'migrated', verdict: 'unknown' }),
    );
    await host.run('verify', ...gate, '--database', 'none');
    expect([host.acknowledged, host.asked.includes('command')]).toEqual([[[transaction]], true]);
  });
});
