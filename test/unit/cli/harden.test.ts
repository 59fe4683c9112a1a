import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import ssh2 from 'ssh2';
import { afterAll, describe, expect, test } from 'vitest';
import { runCommand } from '../../../src/cli/celeriac.ts';
import type { FactQuery } from '../../../src/model/facts.ts';
import type { Operation } from '../../../src/model/operation.ts';
import type { Agent } from '../../../src/ports/agent.ts';
import { realFact } from '../../lib/real-facts.ts';

const folder = mkdtempSync(join(tmpdir(), 'celeriac-harden-'));
const keyFile = join(folder, 'ci.pub');
writeFileSync(keyFile, ssh2.utils.generateKeyPairSync('ed25519', { comment: 'ci' }).public);
writeFileSync(join(folder, 'notes'), 'no key\n');
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const absent = { kind: 'absent' } as const;

/** A host that was never hardened, with a worker of the user shop; `left`: a user in sudoers. */
function bareHost(left?: string) {
  const sudoers = {
    kind: 'file',
    text: `${left} ALL=(root) NOPASSWD: /usr/local/lib/celeriac/agent ""\n`,
    sha256: 'a'.repeat(64),
    mode: '0440',
    owner: 'root',
  } as const;
  const applied: Operation[] = [];
  const look = async (query: FactQuery) => {
    const fact = realFact('hardening');
    const files = (query.files?.paths ?? []).map(
      (path) => [path, path === `/etc/sudoers.d/${left}` ? sudoers : absent] as const,
    );
    return {
      files: Object.fromEntries(files),
      stores: [],
      release: { tree: { kind: 'none' }, installed: null },
      unit: {
        ...realFact('unit'),
        name: query.unit?.name,
        loadState: 'loaded',
        properties: { User: 'shop' },
      },
      hardening: {
        ...fact,
        agent: absent,
        accounts: { celeriac: null },
        owned: { celeriac: { paths: [], whole: true } },
        loose: [],
        folders: { '/etc/sudoers.d': left === undefined ? [] : ['README', left] },
        sudoers: { visudo: true, problem: null },
      },
    };
  };
  const apply = async (operations: readonly Operation[]) => {
    applied.push(...operations);
    return { transaction: '20260118T150000-4f2a', result: 'committed', steps: [] };
  };
  const close = async () => {};
  const agent = { look, apply, close, [Symbol.asyncDispose]: close } as unknown as Agent;
  const run = async (words: readonly string[], uid = 0) => {
    const said = { out: '', err: '' };
    const code = await runCommand(words, {
      terminal: {
        out: (text) => {
          said.out += text;
        },
        note: (line) => {
          said.err += `${line}\n`;
        },
      },
      interrupted: new AbortController().signal,
      person: { name: uid === 0 ? 'root' : 'alice', uid },
      openAgent: async () => agent,
    });
    return { code, ...said, applied: applied.map(({ op }) => op) };
  };
  return { run };
}

const words = ['harden', '--units', 'shop-worker', '--public-key-file', keyFile];

describe('celeriac harden', () => {
  test('shows everything in a dry run, and changes nothing', async () => {
    const { code, out, applied } = await bareHost().run([...words, '--dry-run']);
    expect([code, applied]).toEqual([3, []]);
    expect(out).toContain('+    "shop-worker.service"');
    expect(out).toContain('+celeriac ALL=(root) NOPASSWD: /usr/local/lib/celeriac/agent ""');
  });

  test('prints the same as a script that contains the agent', async () => {
    const { code, out, applied } = await bareHost().run([...words, '--print']);
    expect([code, applied]).toEqual([3, []]);
    expect(out).toMatch(/^#!\/bin\/sh\n/);
    expect(out).toContain('{"SOURCES": sources, "HARDENED": True}');
  });

  test('does it as one transaction, and says what the workflows need', async () => {
    const { code, err, applied } = await bareHost().run(words);
    expect([code, applied.at(0), applied.at(-1)]).toEqual([0, 'install-agent', 'prove-agent']);
    expect(err).toContain('`user: celeriac` and `agent: installed`');
  });

  test.each<[readonly string[], string]>([
    [['harden'], 'missing `units`'],
    [['harden', '--units', 'shop-worker'], 'no key is known that may log in as celeriac'],
    [[...words, '--deploy-user', 'root'], 'invalid `deploy-user`'],
    [[...words, '--read-key-file', keyFile], '`--read-key-file` requires `--read-user`'],
    [['harden', '--public-key-file', '/none'], 'cannot read /none'],
    [['harden', '--public-key-file', join(folder, 'notes')], 'not a public key'],
    [['harden', '--agent', 'installed'], 'unknown flag `--agent`'],
    [['hardn'], '`celeriac harden`?'],
  ])('%j is refused', async (given, problem) => {
    const { code, err, applied } = await bareHost().run(given);
    expect([code, applied]).toEqual([2, []]);
    expect(err).toContain(problem);
  });

  test('is for root only, even to look', async () => {
    const { code, err } = await bareHost().run([...words, '--dry-run'], 1000);
    expect([code, err]).toEqual([2, expect.stringContaining('alice is not root')]);
    expect(err).not.toContain('`--dry-run`,');
  });
});

test('celeriac unharden has nothing to do on a host that was not hardened', async () => {
  const { code, out, applied } = await bareHost().run(['unharden']);
  expect([code, applied]).toEqual([0, []]);
  expect(out.match(/Nothing to do/g)).toHaveLength(1);
});

test('a user that the policy has forgotten is named, and goes with the rest', async () => {
  const hardened = await bareHost('celeriac-plan').run([...words, '--dry-run']);
  expect(hardened.code).toBe(3);
  expect(hardened.out).toContain('celeriac-plan may run the agent, too');
  const { code, out, applied } = await bareHost('celeriac-plan').run(['unharden']);
  expect([code, applied]).toEqual([0, ['remove-file']]);
  expect(out).toContain('take the right to run the agent from celeriac-plan');
});
