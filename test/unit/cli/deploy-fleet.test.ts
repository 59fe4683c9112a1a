import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import ssh2 from 'ssh2';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import type { AgentOptions } from '../../../src/adapters/agent/agent-options.ts';
import { commands, runCommand } from '../../../src/cli/celeriac.ts';
import { flagsOf } from '../../../src/cli/flags.ts';
import type { UnitFact } from '../../../src/model/facts/unit.ts';
import { unitFact } from '../verify/facts.ts';
import { closed, release, type TerminalHost, transaction } from './terminal-host.ts';
import { idleWorker, worker } from './worker-host.ts';

const folder = mkdtempSync(join(tmpdir(), 'celeriac-fleet-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const key = join(folder, 'key');
writeFileSync(key, ssh2.utils.generateKeyPairSync('ed25519').private, { mode: 0o600 });

/** Fails its gate once it was deployed. */
function broken(): TerminalHost {
  const host = worker();
  host.apply = async () => {
    host.answers.unit = stopped();
    return { transaction, result: 'committed', steps: [] };
  };
  return host;
}

/** Loses every connection at the first question. */
function unreachable(): TerminalHost {
  const host = worker();
  Object.defineProperty(host, 'agent', {
    get: () => {
      throw closed();
    },
  });
  return host;
}

const stopped = () => unitFact({ activeState: 'failed' });

let hosts: Record<string, TerminalHost>;
let interrupt: AbortController;
/** Address and user of each connection, in order. */
let logins: string[];
beforeEach(() => {
  hosts = { web1: worker(), web2: worker(), web3: worker() };
  interrupt = new AbortController();
  logins = [];
});

const addressOf = (name: string): string => name.replace('web', '203.0.113.');

async function run(words: readonly string[], rollout = '{ max-parallel: 1 }', more = '') {
  const file = join(folder, 'fleet.yml');
  const lines = Object.keys(hosts).map((name) => `  ${name}: { host: ${addressOf(name)} }\n`);
  const verify = 'verify: { gate: none, database: none }';
  const defaults = `defaults: { user: deploy, concurrency: 3, ${verify}${more} }`;
  writeFileSync(file, `${defaults}\nrollout: ${rollout}\nhosts:\n${lines.join('')}`);
  const pins = join(folder, 'known_hosts');
  const names = Object.keys(hosts).map((name) => `${addressOf(name)} ssh-ed25519 AAAA\n`);
  writeFileSync(pins, names.join(''));
  const login = ['--ssh-key-file', key, '--known-hosts-file', pins, '--ssh-config-file', 'none'];
  let out = '';
  let err = '';
  const tools = {
    terminal: {
      out: (text: string) => {
        out += text;
      },
      note: (line: string) => {
        err += `${line}\n`;
      },
    },
    interrupted: interrupt.signal,
    person: { name: 'nika', uid: 1000 },
    openAgent: async (options: AgentOptions) => {
      const target = 'target' in options ? options.target : undefined;
      const name = target?.host.replace('203.0.113.', 'web') ?? '';
      logins.push(`${target?.user}@${name}`);
      const host = hosts[name];
      if (host === undefined) throw new Error(`there is no ${target?.host}`);
      return host.agent;
    },
  };
  const [command = '', ...rest] = words.map((word) => (word === 'FILE' ? file : word));
  const code = await runCommand([command, ...rest, ...login], tools);
  return { code, out, err };
}

const idly = ['deploy', '--fleet', 'FILE', '--concurrency', '1'];

const deployed = () =>
  Object.entries(hosts).flatMap(([name, { applied }]) => (applied.length > 0 ? [name] : []));
const undone = () =>
  Object.entries(hosts).flatMap(([name, each]) => (each.undone.length > 0 ? [name] : []));

describe('celeriac deploy --fleet', () => {
  test('deploys and verifies every host, and says which line is of which', async () => {
    const { code, out, err } = await run(['deploy', '--fleet', 'FILE']);
    expect(err).not.toContain('unexpected');
    expect([code, deployed()]).toEqual([0, ['web1', 'web2', 'web3']]);
    expect(out).toContain('web2: Healthy');
    expect(out).toContain('web3: deployed and confirmed; the new release');
    expect(out).toContain('3 hosts: 3 deployed and confirmed.');
    expect(logins[0]).toBe('deploy@web1');
  });

  test('deploys the hosts that a pattern names', async () => {
    expect((await run(['deploy', '--fleet', 'FILE', '--hosts', '*3,web2'])).code).toBe(0);
    expect(deployed()).toEqual(['web2', 'web3']);
  });

  test('rolls back a host whose gate fails, and begins no other', async () => {
    hosts.web2 = broken();
    const { code, out } = await run(['deploy', '--fleet', 'FILE']);
    expect([code, deployed(), undone()]).toEqual([5, ['web1', 'web2'], ['web2']]);
    expect(out).toContain('web2: rolled back; its gate failed');
    expect(out).toContain('web3: untouched; not started: web2 had failed');
  });

  test('takes all back by policy; a flag wins over the file', async () => {
    hosts.web3 = broken();
    const { code, out } = await run(['deploy', '--fleet', 'FILE', '--on-failure', 'run']);
    expect([code, undone()]).toEqual([5, ['web1', 'web2', 'web3']]);
    expect(out).toContain('3 hosts: 3 rolled back.');
    // The host refuses it if another run deploys meanwhile.
    expect(hosts.web1?.undoneOnlyFrom).toEqual([transaction]);
  });

  test('takes nothing back beneath a release that another run has deployed since', async () => {
    const { web1 } = hosts;
    const last = broken();
    const fail = last.apply;
    last.apply = async (onProgress) => {
      const releases = [
        release(0),
        release(1),
        release(2, { transaction: '20260118T120000-0b0b' }),
      ];
      Object.assign(web1?.answers ?? {}, {
        releases: { releases, awaiting: null, guarded: true },
      });
      return fail(onProgress);
    };
    hosts.web3 = last;
    const { code, out } = await run(['deploy', '--fleet', 'FILE', '--on-failure', 'run']);
    expect([code, undone()]).toEqual([1, ['web2', 'web3']]);
    expect(out).toContain('web1: unknown; was not rolled back: another release runs now');
  });

  test('goes by the file as it was before the first host', async () => {
    const { web1 } = hosts;
    if (web1 !== undefined) {
      web1.apply = async () => {
        writeFileSync(join(folder, 'fleet.yml'), 'hosts: { web9: }\n');
        return { transaction, result: 'committed', steps: [] };
      };
    }
    const { code, err } = await run(['deploy', '--fleet', 'FILE']);
    expect([code, deployed()], err).toEqual([0, ['web1', 'web2', 'web3']]);
  });

  test('asks once which commit is checked out, for all hosts', async () => {
    const words = ['--source', 'git', '--canary', 'none', '--max-failures', '9', '--dry-run'];
    const { err } = await run(['deploy', '--fleet', 'FILE', ...words]);
    expect(logins.slice(0, 3)).toEqual(['deploy@web1', 'deploy@web2', 'deploy@web3']);
    expect(err.match(/commit: [0-9a-f]{40}, which is checked out/g)).toHaveLength(1);
  });

  test('verifies over a fresh connection what it has changed, and over the same one what it has not', async () => {
    hosts.web2 = idleWorker();
    const { code, out } = await run(idly);
    expect([code, deployed()]).toEqual([0, ['web1', 'web3']]);
    expect(logins).toEqual([1, 1, 2, 3, 3].map((number) => `deploy@web${number}`));
    expect(out).toContain('web2: Healthy');
    expect(out).toContain('web2: deployed and confirmed; nothing to change');
  });

  test('asks a worker once whether it takes its messages, unless it was started again since', async () => {
    const idle = idleWorker();
    const restarted = idleWorker();
    const { agent } = restarted;
    const look = agent.look.bind(agent);
    let looks = 0;
    agent.look = async (query) => {
      const facts = await look(query);
      if (!('unit' in facts)) return facts;
      looks += 1;
      const properties = { ...(facts.unit as UnitFact).properties, InvocationID: `run ${looks}` };
      return { ...facts, unit: { ...(facts.unit as UnitFact), properties } };
    };
    Object.defineProperty(restarted, 'agent', { get: () => agent });
    hosts = { web1: idle, web2: restarted };
    expect((await run(idly)).code).toBe(0);
    const asked = [idle, restarted].map((each) => each.asked.filter((one) => one === 'consuming'));
    expect(asked.map(({ length }) => length)).toEqual([1, 2]);
  });

  test('a host with nothing to change that is not healthy has failed, and is not rolled back', async () => {
    const { web1, web2, web3 } = { web1: worker(), web2: idleWorker(), web3: worker() };
    hosts = { web1, web2, web3 };
    // It stops between the look of the deploy and that of the verification.
    const { agent } = web2;
    const look = agent.look.bind(agent);
    let looks = 0;
    agent.look = async (query) => {
      const facts = await look(query);
      looks += 'unit' in query ? 1 : 0;
      return looks < 2 || !('unit' in query) ? facts : { ...facts, unit: stopped() };
    };
    Object.defineProperty(web2, 'agent', { get: () => agent });
    const { code, out } = await run(idly);
    expect([code, deployed(), undone()]).toEqual([1, ['web1'], []]);
    expect(out).toContain('web2: untouched; it failed before any change');
    expect(out).toContain('web3: untouched; not started: web2 had failed');
  });

  test('--json prints the end of every host, and nothing else, to stdout', async () => {
    hosts.web1 = broken();
    const { code, out, err } = await run(['deploy', '--fleet', 'FILE', '--json']);
    expect(code).toBe(5);
    expect(JSON.parse(out)).toMatchObject({
      command: 'deploy',
      ok: false,
      hosts: [
        { host: 'web1', state: 'rolled-back' },
        { state: 'untouched' },
        { state: 'untouched' },
      ],
    });
    expect(err).toContain('web1: ');
  });

  test('--json has of each host what the document of a single host has', async () => {
    hosts.web2 = broken();
    const { out } = await run(['deploy', '--fleet', 'FILE', '--json']);
    const [web1, web2, web3] = JSON.parse(out).hosts;
    expect(web1).toMatchObject({ outputs: { transaction }, error: null });
    expect(web1.results[0].plan.operations.length).toBeGreaterThan(0);
    expect(web1.results[0].outcome).toMatchObject({ transaction, result: 'committed' });
    expect(web2).toMatchObject({ error: { kind: 'gate', check: 'unit' } });
    const outcomes = web2.results.flatMap((each: { outcome: object | null }) => each.outcome ?? []);
    expect(outcomes).toMatchObject([{ transaction, result: 'committed' }, { result: 'undone' }]);
    expect(web3).toMatchObject({ results: [], outputs: {}, error: null });
  });

  test('says why a host failed, as there is no job to look at', async () => {
    hosts.web2 = unreachable();
    for (const [more, why] of [
      [[], 'it failed before any change: closed.'],
      [['--dry-run'], 'the dry run failed: closed.'],
    ] as const) {
      const { out, err } = await run(['deploy', '--fleet', 'FILE', ...more]);
      expect(out).toContain(`web2: untouched; ${why}`);
      expect(out + err).not.toContain('its job');
      const json = await run(['deploy', '--fleet', 'FILE', '--json', ...more]);
      const error = { kind: 'host', message: 'closed.', step: 'apply', next: 'run again' };
      expect(JSON.parse(json.out).hosts[1]).toMatchObject({ error, why });
    }
  });

  test('Ctrl+C begins no further host, and says how far each is', async () => {
    const { web1 } = hosts;
    if (web1 !== undefined) {
      web1.apply = async (onProgress) => {
        onProgress({ kind: 'opened', transactions: [transaction], live: '/x' });
        interrupt.abort();
        throw closed();
      };
    }
    const { code, out } = await run(['deploy', '--fleet', 'FILE']);
    expect([code, deployed()]).toEqual([130, ['web1']]);
    expect(out).toContain(
      `web1: unknown; interrupted; transaction ${transaction} continues on the`,
    );
    expect(out).toContain('web2: untouched; not started: interrupted');
  });

  test('a dry run changes no host, and ends with 3 while one of them would be changed', async () => {
    const { code, out } = await run(['deploy', '--fleet', 'FILE', '--dry-run']);
    expect([code, deployed()]).toEqual([3, []]);
    expect(out).toContain('web2: untouched; dry run: something to change');
    expect(out).toContain('3 hosts: 3 untouched.');
    const json = await run(['deploy', '--fleet', 'FILE', '--dry-run', '--json']);
    expect(json.code).toBe(3);
    expect(JSON.parse(json.out)).toMatchObject({ dryRun: true, exitCode: 3, ok: true });

    hosts.web1 = idleWorker();
    const last = await run([...idly, '--dry-run']);
    expect(last.code, last.out).toBe(3);
    expect(last.out).toContain('web1: untouched; dry run: nothing to change');
    expect(last.out).toContain('web2: untouched; dry run: something to change');
  });

  test('a dry run ends with 0 if no host would be changed', async () => {
    hosts = { web1: idleWorker(), web2: idleWorker() };
    const { code, out } = await run([...idly, '--dry-run', '--json']);
    expect(code, out).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ dryRun: true, exitCode: 0, ok: true });
  });

  test('a dry run ends with 1 if a host cannot be asked, whatever it found on others', async () => {
    hosts.web2 = unreachable();
    const { code, out } = await run(['deploy', '--fleet', 'FILE', '--dry-run']);
    expect(code).toBe(1);
    expect(out).toContain('web1: untouched; dry run: something to change');
    expect(out).toContain('web2: untouched; the dry run failed');
  });

  test.each([
    [['--hosts', 'db*'], 'no host matches `db*`'],
    [['--hosts', ','], 'invalid `hosts`'],
    [['--hosts', 'web1;web2'], 'invalid `hosts`'],
    [['--canary', 'web9'], 'unknown host `web9` in `canary`'],
    [['--max-parallel', '0'], 'invalid `max-parallel`'],
    [['--host', 'web1'], 'cannot be combined with `--fleet`'],
    [['--sudo'], 'cannot be combined with `--fleet`'],
    [['--source', 'upload'], 'web1: `source: upload` needs `deploy-to`'],
    [['--gate', 'task'], 'web1: `gate: task` needs `gate-task`'],
    [['--checks', '[{ name: x, comand: y }]'], 'web1: unknown key `comand`'],
  ])('%j is refused before the first host', async (words, problem) => {
    const { code, err } = await run(['deploy', '--fleet', 'FILE', ...words]);
    expect([code, logins]).toEqual([2, []]);
    expect(err).toContain(problem);
  });

  test('its flags need it', async () => {
    const { code, err } = await run(['deploy', '--host', '203.0.113.1', '--hosts', 'web1']);
    expect(code).toBe(2);
    expect(err).toContain('`--hosts` requires `--fleet`');
  });
});

describe('a host of the fleet file by its name', () => {
  const rollout = '{ max-parallel: 1 }';

  test('is reached as the file says, and named so in what is next', async () => {
    const { code, err } = await run(['rollback', '--host', 'web2', '--fleet-file', 'FILE']);
    expect([code, logins]).toEqual([0, ['deploy@web2']]);
    expect(undone()).toEqual(['web2']);
    expect(err).toContain('celeriac status --host web2');
  });

  test.each(['status', 'doctor', 'releases', 'logs', 'provision', 'verify', 'cleanup', 'soak'])(
    '%s reaches it as the file says, and takes its unit from there',
    async (command) => {
      const words = [command, '--host', 'web2', '--fleet-file', 'FILE'];
      const { code, err } = await run(words, rollout, ', unit: shop.service, database: none');
      expect(logins).toEqual(['deploy@web2']);
      expect(err).toContain('settings: ');
      expect(err).not.toMatch(/where: |unexpected/);
      // Its worker does not run as the file wants it.
      expect(code).toBe(['status', 'doctor', 'verify'].includes(command) ? 3 : 0);
      // Without tables, nothing is asked; provision has no unit.
      if (command === 'provision' || command === 'cleanup') return;
      expect(JSON.stringify(hosts.web2?.queries)).toContain('"shop.service"');
    },
  );

  test.each(['harden', 'unharden'])('%s logs in there as the person does', async (command) => {
    const units = command === 'harden' ? ['--units', 'shop-worker'] : [];
    await run([command, ...units, '--host', 'web2', '--fleet-file', 'FILE', '--dry-run']);
    expect(logins).toEqual(['root@web2']);
  });

  test('cleanup and soak change no host that the file is not for', async () => {
    for (const command of ['cleanup', 'soak']) {
      const { code, err } = await run([command, '--host', '203.0.113.9', '--fleet-file', 'FILE']);
      expect([code, logins]).toEqual([2, []]);
      expect(err).toContain('not for 203.0.113.9');
    }
  });

  test('an invalid value names its line in the file', async () => {
    const words = ['cleanup', '--host', 'web2', '--fleet-file', 'FILE'];
    const { code, err } = await run(words, rollout, ', stores: "- database"');
    expect(code).toBe(2);
    expect(err).toMatch(/fleet\.yml:1\b/);
  });

  test('every command with `--host` knows it, but for the one that writes the file', () => {
    const names = (command: (typeof commands)[number]) => flagsOf(command).map(({ name }) => name);
    const remote = commands.filter((each) => names(each).includes('host'));
    const without = remote.filter((each) => !names(each).includes('fleet-file'));
    expect(without.map(({ name }) => name)).toEqual(['init']);
  });
});
