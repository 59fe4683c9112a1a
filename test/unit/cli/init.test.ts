import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { findUnitFaults } from '../../../src/celery/unit-faults.ts';
import { type ActionName, actions } from '../../../src/config/action-inputs.ts';
import { parseFleetFile } from '../../../src/config/fleet-file.ts';
import { readInputs } from '../../../src/config/read-inputs.ts';
import type { UnitFact } from '../../../src/model/facts/unit.ts';
import { bytes, MiB } from '../../../src/model/units.ts';
import { parseUnitFile } from '../../../src/systemd/unit-file.ts';
import { makeTemporaryFolder } from '../../lib/temporary.ts';
import { KEYS, publicPart, TestServer } from '../adapters/ssh-server.ts';
import { type HostCase, hostCase, hostCases, initAt } from './init-hosts.ts';

let server: TestServer;
beforeAll(async () => {
  server = await TestServer.start({ hostKeys: [KEYS.ed25519, KEYS.ecdsa] });
});
afterAll(() => server[Symbol.asyncDispose]());

const printOf = (pair: typeof KEYS.ed25519): string => {
  const key = Buffer.from(publicPart(pair).split(' ')[1] ?? '', 'base64');
  return `SHA256:${createHash('sha256').update(key).digest('base64').replace(/=+$/, '')}`;
};
const trusting = ['--fingerprint', printOf(KEYS.ed25519)];
const fleetPath = '.github/fleet.yml';
const workflowPath = '.github/workflows/celeriac.yml';

describe.each(hostCases.map((one) => [one.name, one.what, one] as const))(
  '%s: %s',
  (_name, _what, given: HostCase) => {
    test('what init finds, writes and says', async () => {
      const { expected } = given;
      const at = initAt(given, server);
      const { code, out, err } = await at.run([...trusting, '--yes']);
      expect(code, err).toBe(expected.code);
      for (const text of [...(expected.found ?? []), ...(expected.next ?? [])]) {
        expect(out).toContain(text);
      }
      for (const text of expected.error ?? []) expect(err).toContain(text);
      for (const text of expected.never ?? []) expect(out + err).not.toContain(text);
      const fleet = expected.fleet === undefined ? [] : at.read(fleetPath).split('\n');
      for (const line of expected.fleet ?? []) expect(fleet).toContain(line);
      const unit = expected.unit === undefined ? [] : at.read('celery-worker.service').split('\n');
      for (const line of expected.unit ?? []) {
        expect(
          unit.some((each) => each.startsWith(line)),
          line,
        ).toBe(true);
      }
      const written = execFileSync('git', [
        '-C',
        at.repository,
        'status',
        '-s',
        '-uall',
      ]).toString();
      const files = [
        ...(expected.fleet === undefined ? [] : [fleetPath, workflowPath]),
        ...(expected.unit === undefined ? [] : ['celery-worker.service']),
      ];
      expect(written).toBe(files.map((path) => `?? ${path}\n`).join(''));
    });
  },
);

describe('what init writes', () => {
  test('the fleet file is one that every action reads', async () => {
    const at = initAt(hostCase('unit-with-venv'), server);
    await at.run([...trusting, '--yes']);
    const text = at.read(fleetPath);
    for (const name of Object.keys(actions) as ActionName[]) {
      const values = parseFleetFile(fleetPath, text, name);
      const secrets: Record<string, string> = { 'known-hosts': 'x' };
      const read = () => readInputs(actions[name], (input) => secrets[input] ?? '', values);
      expect(read().host).toBe('127.0.0.1');
    }
    const worker = parseFleetFile(fleetPath, text, 'deploy-worker');
    expect(worker.get('memory-max')?.text).toMatch(/^\d+M$/);
    // To verify, they would be requirements.
    expect(parseFleetFile(fleetPath, text, 'verify').has('memory-max')).toBe(false);
  });

  test('the arithmetic adds up, line by line', async () => {
    const { out } = await initAt(hostCase('unit-with-venv'), server).run([
      ...trusting,
      '--dry-run',
    ]);
    expect(out).toContain(
      [
        'memory         2 GiB memory of the host',
        '           − 205 MiB for the system',
        '           − 148 MiB in use by others now',
        '           = 1.7 GiB left for the worker',
        '           it may need 1.5 × (120 MiB + 2 × 210 MiB) = 810 MiB',
        '           concurrency 2, as it is now',
        '           memory-max 1680M; no memory-high, because there is no swap',
      ].join('\n'),
    );
  });

  test('a proposed unit has no fault but those that deploy-worker mends', async () => {
    const at = initAt(hostCase('nohup'), server);
    await at.run([...trusting, '--yes']);
    const faults = findUnitFaults(parseUnitFile(at.read('celery-worker.service')), {
      swapActive: false,
      longestTaskSeconds: 900,
      cpus: 2,
      hostMemoryBytes: bytes(2048 * MiB),
      processes: null,
    });
    expect(faults.map(({ rule }) => rule.id)).toEqual(['type-simple']);
  });

  test('a proposed unit takes the name of none that is there', async () => {
    const taken = { ...hostCase('supervisor').units[0], name: 'celery-worker.service' } as UnitFact;
    const given = hostCase('nohup');
    const workers = (given.workers as readonly object[]).map((worker) => ({
      ...worker,
      cgroup: `/system.slice/${taken.name}`,
    }));
    const at = initAt({ ...given, workers, units: [taken] }, server);
    const { code, out } = await at.run([...trusting, '--yes']);
    expect([code, existsSync(join(at.repository, taken.name))]).toEqual([0, false]);
    const unit = at.read('celery-worker-2.service');
    expect(unit).toContain('EnvironmentFile=/etc/celery-worker-2.env\n');
    expect(out).toContain('systemctl enable --now celery-worker-2.service');
    expect(out).toContain('systemctl disable --now celery-worker.service');
    expect(out).toContain('>/etc/celery-worker-2.env');
    expect(out).toContain('cat >/etc/systemd/system/celery-worker-2.service');
  });

  test('the variables of a process get to their file as they are, and nowhere else', async () => {
    const { out } = await initAt(hostCase('nohup'), server).run([...trusting, '--dry-run']);
    const folder = makeTemporaryFolder();
    const values = { SHOP_TOKEN: 'a "b" $c \\d `e`\nsecond line', DATABASE_URL: 'x=y' };
    const entries = Object.entries({ ...values, OTHER: 'no' }).map(
      ([name, value]) => `${name}=${value}`,
    );
    writeFileSync(join(folder, 'environ'), entries.map((one) => `${one}\0`).join(''));
    const command = (/`(\(umask .*?celery-worker\.env\))`/.exec(out)?.[1] ?? '')
      .replace('/proc/70/environ', join(folder, 'environ'))
      .replace('/etc/celery-worker.env', join(folder, 'env'));
    execFileSync('sh', ['-c', command]);
    // A shell reads double quotes as systemd does.
    const show = `. ${join(folder, 'env')}; printf '%s|%s|%s' "$SHOP_TOKEN" "$DATABASE_URL" "$OTHER"`;
    expect(execFileSync('sh', ['-c', show]).toString()).toBe(
      `${values.SHOP_TOKEN}|${values.DATABASE_URL}|`,
    );
    expect(() => execFileSync('sh', ['-c', command], { stdio: 'ignore' })).toThrow();
  });

  test('of a database without a recognised table, the owner is asked', async () => {
    const given = hostCase('unit-with-venv');
    const [store] = given.stores as readonly object[];
    const columns = [{ name: 'state', type: 'TEXT' }];
    const tables = [{ name: 'jobs', columns, foreignKeys: [] }];
    const at = initAt({ ...given, stores: [{ ...store, tables }] }, server);
    const { out } = await at.run([...trusting, '--yes']);
    expect(out).toContain(
      'jobs       no table of /srv/shop/shop.db shows that it holds jobs: answer the question in .github/fleet.yml',
    );
    expect(at.read(fleetPath)).not.toMatch(/^(?:database|stores):/m);
    expect(parseFleetFile(fleetPath, at.read(fleetPath), 'cleanup').has('database')).toBe(false);
  });

  test('another worker is not to be restarted beside it: it is deployed by itself', async () => {
    const given = hostCase('unit-with-venv');
    const argv = ['/usr/bin/python3', '/usr/bin/celery', '-A', 'shop.worker', 'worker'];
    const beside = [
      { unit: 'shop-worker@b.service', pid: 1, argv },
      { unit: 'shop-web.service', pid: 2, argv: ['/usr/bin/gunicorn', 'shop'] },
    ];
    const at = initAt({ ...given, companions: { named: [], beside } }, server);
    await at.run([...trusting, '--yes']);
    const text = at.read(fleetPath);
    expect(text).toContain('also-restart: shop-beat.service, shop-web.service\n');
    expect(text).toMatch(/workers of the app: shop-worker@b\.service\..*\n.*several-workers\.md/);
  });

  test('what a host says cannot leave its comment', async () => {
    const given = hostCase('unit-with-venv');
    const beside = [{ unit: 'a.service\nssh-key: x', pid: 1, argv: ['x\nhost: evil'] }];
    const at = initAt({ ...given, companions: { named: [], beside } }, server);
    await at.run([...trusting, '--yes']);
    expect(at.read(fleetPath)).not.toMatch(/^\s*(?:ssh-key|host: evil)/m);
  });
});

describe('files that are there', () => {
  test('are as they should be the second time', async () => {
    const at = initAt(hostCase('unit-with-venv'), server);
    await at.run([...trusting, '--yes']);
    const { code, out } = await at.run([...trusting, '--yes']);
    expect([code, out]).toEqual([0, expect.stringContaining('nothing to write')]);
  });

  describe('keep limits that still fit', () => {
    const given = hostCase('unit-with-venv');
    const { memory } = given.host as { memory: { availableBytes: number } };

    async function again(changes: Partial<HostCase>) {
      const at = initAt(given, server);
      await at.run([...trusting, '--yes']);
      const before = at.read(fleetPath);
      const words = [...trusting, '--yes', '--force', '--repository', at.repository];
      await initAt({ ...given, ...changes }, server).run(words);
      return { before, after: at.read(fleetPath) };
    }
    const using = (more: number) => ({
      host: {
        ...(given.host as object),
        memory: { ...memory, availableBytes: memory.availableBytes - more * MiB },
      },
    });

    test.each([1, 15, 30, -15, -30])('where others use %i MiB more', async (more) => {
      const { before, after } = await again(using(more));
      expect(before).toContain('  memory-max: ');
      expect(after).toBe(before);
    });

    test('but not where others use much more', async () => {
      const { before, after } = await again(using(400));
      const limitOf = (text: string) => Number(/^ {2}memory-max: (\d+)M$/m.exec(text)?.[1]);
      expect(limitOf(after)).toBeLessThan(limitOf(before) - 300);
    });

    test('where a deploy has written them into the unit', async () => {
      const at = initAt(given, server);
      await at.run([...trusting, '--yes']);
      const limit = Number(/^ {2}memory-max: (\d+)M$/m.exec(at.read(fleetPath))?.[1]);
      const units = given.units.map((unit) => ({
        ...unit,
        properties: { ...unit.properties, MemoryMax: String(limit * MiB) },
      }));
      const { before, after } = await again({ units });
      expect(after).toBe(before);
    });

    test('but not those of another unit', async () => {
      const at = initAt(given, server);
      await at.run([...trusting, '--yes']);
      const other = at.read(fleetPath).replace(/^unit: .*$/m, 'unit: other.service');
      writeFileSync(join(at.repository, fleetPath), other);
      const words = [...trusting, '--yes', '--force', '--repository', at.repository];
      await initAt({ ...given, ...using(15) }, server).run(words);
      expect(at.read(fleetPath)).not.toContain(/^.*that others use now$/m.exec(other)?.[0]);
    });
  });

  test('are shown with the difference, and replaced only if somebody says so', async () => {
    const at = initAt(hostCase('unit-with-venv'), server);
    await at.run([...trusting, '--yes']);
    writeFileSync(join(at.repository, fleetPath), 'host: mine\n');
    const refused = await at.run([...trusting, '--yes']);
    expect([refused.code, at.read(fleetPath)]).toEqual([2, 'host: mine\n']);
    expect(refused.out).toContain('-host: mine\n');
    expect(refused.err).toContain('`--force` to overwrite');
    const declined = await at.run(trusting, ['no']);
    expect([declined.code, at.read(fleetPath)]).toEqual([4, 'host: mine\n']);
    expect(declined.questions).toEqual([`Replace ${fleetPath}? (yes or no) `]);
    await at.run([...trusting, '--yes', '--force']);
    expect(at.read(fleetPath)).toContain('host: 127.0.0.1');
    writeFileSync(join(at.repository, fleetPath), 'host: mine\n');
    expect((await at.run(trusting, ['yes'])).code).toBe(0);
    expect(at.read(fleetPath)).toContain('host: 127.0.0.1');
  });

  test('nothing is half-written where one cannot be', async () => {
    const at = initAt(hostCase('unit-with-venv'), server);
    writeFileSync(join(at.repository, '.github'), 'a file\n');
    const { code, err } = await at.run([...trusting, '--yes']);
    expect([code, readdirSync(at.repository).sort()]).toEqual([2, ['.git', '.github']]);
    expect(err).toContain('cannot be written');
  });

  test('a dry run writes none', async () => {
    const at = initAt(hostCase('unit-with-venv'), server);
    const { code } = await at.run([...trusting, '--dry-run']);
    expect([code, existsSync(join(at.repository, '.github'))]).toEqual([3, false]);
  });

  test('a folder without a repository is refused before anything is asked', async () => {
    const at = initAt(hostCase('unit-with-venv'), server);
    const { code, err } = await at.run([...trusting, '--repository', at.home]);
    expect([code, at.asked]).toEqual([2, []]);
    expect(err).toContain('is not in a Git repository');
  });
});

describe('the host key', () => {
  test('of a host that nobody knows is compared by a person', async () => {
    const at = initAt(hostCase('unit-with-venv'), server);
    const { code, err, questions } = await at.run([], ['yes']);
    expect([code, questions.length]).toEqual([0, 1]);
    expect(err).toContain(`${printOf(KEYS.ed25519)} (ssh-ed25519)`);
    expect(err).toContain('`ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` must print the same');
  });

  test('goes into the variable as the line that the actions accept', async () => {
    const { out } = await initAt(hostCase('unit-with-venv'), server).run(trusting);
    const line = `[127.0.0.1]:${server.port} ${publicPart(KEYS.ed25519)}`;
    expect(out).toContain(`gh variable set CELERIAC_KNOWN_HOSTS --body '${line}'`);
  });

  test.each([['no'], [''], ['y'], [printOf(KEYS.otherEd25519)]])(
    'the answer %j trusts nothing',
    async (answer) => {
      const at = initAt(hostCase('unit-with-venv'), server);
      const { code, err } = await at.run([], [answer]);
      expect([code, at.asked]).toEqual([2, []]);
      expect(err).toContain('the host key was not confirmed');
    },
  );

  test.each([
    [['--yes'], ['yes']],
    [[], null],
  ] as const)('%j asks nothing, and trusts nothing', async (words, answers) => {
    const at = initAt(hostCase('unit-with-venv'), server);
    const { code, err, questions } = await at.run(words, answers);
    expect([code, questions, at.asked]).toEqual([2, [], []]);
    expect(err).toContain('--fingerprint SHA256:…');
  });

  test('of another type is found by its fingerprint', async () => {
    const at = initAt(hostCase('unit-with-venv'), server);
    const { code, out } = await at.run(['--fingerprint', printOf(KEYS.ecdsa), '--yes']);
    expect([code, out]).toEqual([0, expect.stringContaining('ecdsa-sha2-nistp256 AAAA')]);
  });

  test('with another fingerprint is refused', async () => {
    const at = initAt(hostCase('unit-with-venv'), server);
    const { code, err } = await at.run(['--fingerprint', printOf(KEYS.otherEd25519)], ['yes']);
    expect([code, at.asked]).toEqual([2, []]);
    expect(err).toContain('has no host key with this fingerprint');
  });

  test('in known_hosts needs no question, and no other fingerprint', async () => {
    const at = initAt(hostCase('unit-with-venv'), server);
    const file = join(at.home, 'mine');
    writeFileSync(file, `[127.0.0.1]:${server.port} ${publicPart(KEYS.ecdsa)}\n`);
    const known = ['--known-hosts-file', file];
    const { code, out, questions } = await at.run(known, []);
    expect([code, questions]).toEqual([0, []]);
    expect(out).toContain('ecdsa-sha2-nistp256 AAAA');
    const other = await at.run([...known, ...trusting]);
    expect([other.code, other.err]).toEqual([2, expect.stringContaining('has another key')]);
  });
});

describe('several workers', () => {
  const given = hostCase('two-workers');

  test('are asked about, or named', async () => {
    const asked = initAt(given, server);
    const { code, questions } = await asked.run(trusting, ['2']);
    expect([code, questions.length]).toEqual([0, 1]);
    expect(asked.read(fleetPath)).toContain('unit: shop-mail.service');
    const named = initAt(given, server);
    expect((await named.run([...trusting, '--worker', 'shop-images', '--yes'])).code).toBe(0);
    expect(named.read(fleetPath)).toContain('unit: shop-images.service');
  });

  test.each([['3'], ['x'], ['']])('the answer %j chooses none', async (answer) => {
    const { code, err } = await initAt(given, server).run(trusting, [answer]);
    expect([code, err]).toEqual([2, expect.stringContaining('none was chosen')]);
  });
});

test('--json prints one document, and the files are written', async () => {
  const at = initAt(hostCase('unit-with-venv'), server);
  const { code, out } = await at.run([...trusting, '--json']);
  const document = JSON.parse(out);
  expect([code, document.host]).toEqual([0, '127.0.0.1']);
  expect(document.knownHosts).toContain(publicPart(KEYS.ed25519));
  const written = document.files.map(({ path, text }: { path: string; text: string }) => [
    path,
    text,
  ]);
  expect(written).toEqual([fleetPath, workflowPath].map((path) => [path, at.read(path)]));
});

test('--host is required', async () => {
  const { runCommand } = await import('../../../src/cli/celeriac.ts');
  let err = '';
  const code = await runCommand(['init'], {
    terminal: {
      out: () => {},
      note: (line) => {
        err += line;
      },
    },
    interrupted: new AbortController().signal,
    person: { name: 'alice', uid: 1000 },
    openAgent: () => Promise.reject(new Error('not reached')),
  });
  expect([code, err]).toEqual([2, expect.stringContaining('missing `--host`')]);
});
