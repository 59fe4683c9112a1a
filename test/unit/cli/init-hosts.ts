import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { runCommand } from '../../../src/cli/celeriac.ts';
import type { UnitFact } from '../../../src/model/facts/unit.ts';
import type { FactQuery } from '../../../src/model/facts.ts';
import type { Agent } from '../../../src/ports/agent.ts';
import { realFact } from '../../lib/real-facts.ts';
import { makeTemporaryFolder } from '../../lib/temporary.ts';
import { KEYS, type TestServer } from '../adapters/ssh-server.ts';

const folder = join(import.meta.dirname, '../plan/fixtures/init');

/** A host as its facts describe it, and what must come of it. */
export interface HostCase {
  readonly name: string;
  readonly what: string;
  readonly units: readonly UnitFact[];
  readonly expected: {
    readonly code: number;
    readonly found?: readonly string[];
    readonly fleet?: readonly string[];
    readonly unit?: readonly string[];
    readonly next?: readonly string[];
    readonly error?: readonly string[];
    readonly never?: readonly string[];
  };
  readonly [fact: string]: unknown;
}

export const hostCases: readonly HostCase[] = readdirSync(folder).map((file) => ({
  ...JSON.parse(readFileSync(join(folder, file), 'utf8')),
  name: file.replace('.json', ''),
}));

export function hostCase(name: string): HostCase {
  const found = hostCases.find((each) => each.name === name);
  if (found === undefined) throw new Error(`no host ${name}`);
  return found;
}

const noUnit = { loadState: 'not-found', activeState: 'inactive' };

/** An agent that answers with these facts, and can do nothing else. */
function agentOf(given: HostCase, asked: string[]): Agent {
  const look = async (query: FactQuery) => {
    asked.push(...Object.keys(query));
    const { programs: _programs, ...known } = realFact('unit');
    const facts: Record<string, unknown> = {
      ...given,
      host: { ...realFact('host'), ...(given.host as object) },
      swap: { ...realFact('swap'), active: [] },
      unit: {
        ...known,
        ...(given.units.find((unit) => unit.name === query.unit?.name) ?? {
          name: query.unit?.name,
          ...noUnit,
        }),
      },
    };
    return Object.fromEntries(Object.keys(query).map((name) => [name, facts[name]]));
  };
  const close = async () => {};
  return { look, close, [Symbol.asyncDispose]: close } as unknown as Agent;
}

export interface Init {
  readonly repository: string;
  readonly home: string;
  readonly asked: readonly string[];
  run(
    words?: readonly string[],
    answers?: readonly string[] | null,
  ): Promise<{ code: number; out: string; err: string; questions: readonly string[] }>;
  read(path: string): string;
}

/** `celeriac init` in an empty repository, with a host that shows its key on loopback. */
export function initAt(given: HostCase, server: TestServer): Init {
  const home = makeTemporaryFolder();
  const repository = makeTemporaryFolder();
  execFileSync('git', ['init', '-q', '-b', 'main', repository]);
  const keyFile = join(home, 'key');
  writeFileSync(keyFile, KEYS.login.private);
  const asked: string[] = [];
  const login = ['--port', String(server.port), '--ssh-key-file', keyFile];
  const knownFile = join(home, 'known_hosts');
  writeFileSync(knownFile, '');
  return {
    repository,
    home,
    asked,
    read: (path) => readFileSync(join(repository, path), 'utf8'),
    run: async (words = [], answers = null) => {
      const said = { out: '', err: '' };
      const left = [...(answers ?? [])];
      const questions: string[] = [];
      const own = words.includes('--repository') ? [] : ['--repository', repository];
      const known = words.includes('--known-hosts-file') ? [] : ['--known-hosts-file', knownFile];
      const code = await runCommand(
        ['init', '--host', '127.0.0.1', ...login, ...own, ...known, ...words],
        {
          terminal: {
            out: (text) => {
              said.out += text;
            },
            note: (line) => {
              said.err += `${line}\n`;
            },
            ...(answers !== null && {
              ask: async (question: string) => {
                questions.push(question);
                return left.shift() ?? '';
              },
            }),
          },
          interrupted: new AbortController().signal,
          person: { name: 'alice', uid: 1000 },
          openAgent: async () => agentOf(given, asked),
        },
      );
      return { code, ...said, questions };
    },
  };
}
