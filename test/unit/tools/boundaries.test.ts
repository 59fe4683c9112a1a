import { describe, expect, test } from 'vitest';
import { findViolations } from '../../../tools/boundaries.ts';

/** The messages for a small tree of sources, each with its file and line. */
function judge(tree: Record<string, string>): string[] {
  return findViolations(new Map(Object.entries(tree))).map(
    ({ file, line, message }) => `${file}:${line}: ${message}`,
  );
}

const model = { 'src/model/host.ts': 'export interface Host { readonly name: string }\n' };

describe('imports point in one direction', () => {
  test('a tree that follows the rules has no violations', () => {
    expect(
      judge({
        ...model,
        'src/ports/agent.ts':
          "import type { Host } from '../model/host.ts';\nexport type A = Host;",
        'src/systemd/unit.ts': "import { join } from 'node:path/posix';\nexport const u = join;",
        'src/plan/unit.ts': "export { u } from '../systemd/unit.ts';",
        'src/adapters/ssh.ts':
          "import { NodeSSH } from 'node-ssh';\nimport type { A } from '../ports/agent.ts';\nexport const s: A[] = [NodeSSH];",
        'src/use-case/a.ts': "export { s } from '../adapters/ssh.ts';",
        'src/celery/worker.ts': "export { u } from '../systemd/unit.ts';",
        'src/action/run.ts':
          "import * as core from '@actions/core';\nimport { s } from '../use-case/a.ts';\nexport const run = () => core.info(String(s));",
        'actions/verify/main.ts': "import { run } from '../../src/action/run.ts';\nrun();",
      }),
    ).toEqual([]);
  });

  test.each([
    ['src/plan/a.ts', "import '../adapters/b.ts';", 'plan must not import adapters'],
    [
      'src/plan/a.ts',
      "import type { X } from '../adapters/b.ts';",
      'plan must not import adapters',
    ],
    ['src/plan/a.ts', "export * from '../action/b.ts';", 'plan must not import action'],
    ['src/plan/a.ts', "type X = import('../cli/b.ts').X;", 'plan must not import cli'],
    ['src/plan/a.ts', "const x = await import('../adapters/b.ts');", 'plan must not import adapt'],
    ['src/report/a.ts', "import '../ports/agent.ts';", 'report must not import ports'],
    ['src/jobs/tables/a.ts', "import '../../ports/store.ts';", 'jobs must not import ports'],
    ['src/jobs/judge/a.ts', "import '../repair/a.ts';", 'jobs/judge must not import jobs/repair'],
    ['src/verify/a.ts', "import '../use-case/a.ts';", 'verify must not import use-case'],
    ['src/celery/a.ts', "import '../plan/a.ts';", 'celery must not import plan'],
    ['src/ports/a.ts', "import '../plan/a.ts';", 'ports must not import plan'],
    ['src/adapters/a.ts', "import '../jobs/a.ts';", 'adapters must not import jobs'],
    ['src/adapters/a.ts', "import '../use-case/a.ts';", 'adapters must not import use-case'],
    ['src/use-case/a.ts', "import '../action/run.ts';", 'use-case must not import action'],
    ['src/use-case/a.ts', "import '@actions/core';", 'only src/action does'],
    ['src/config/a.ts', "import '../plan/b.ts';", 'config must not import plan'],
    ['src/model/a.ts', "import '../generated/version.ts';", 'model must not import generated'],
    ['src/model/a.ts', "import { z } from 'zod';", "model imports nothing, not even 'zod'"],
    ['src/model/a.ts', "import 'node:path';", "model must not import 'node:path'"],
    ['src/verify/a.ts', "import 'node:fs';", "verify must not import 'node:fs'"],
    ['src/jobs/tables/a.ts', "import 'left-pad';", "jobs must not import 'left-pad'"],
    ['src/cli/a.ts', "import '@actions/core';", 'only src/action does'],
    ['src/cli/a.ts', "import '../action/run.ts';", 'cli must not import action'],
    ['cli/main.ts', "import '../src/action/run.ts';", 'cli must not import action'],
    ['src/action/a.ts', "import 'better-sqlite3/linux-x64';", 'only src/adapters does'],
    ['actions/verify/main.ts', "import '@actions/core';", 'only src/action does'],
    ['actions/verify/main.ts', "import '../cleanup/main.ts';", 'must not import another'],
    ['src/action/a.ts', "import '../../tools/build.ts';", 'outside src'],
  ])('%s: %s', (file, text, expected) => {
    expect(judge({ [file]: `\n${text}\n` })).toEqual([expect.stringContaining(`${file}:2: `)]);
    expect(judge({ [file]: text })[0]).toContain(expected);
  });

  test('every file is in a known folder', () => {
    const named = 'is not in a known folder';
    expect(judge({ 'src/helpers/a.ts': '', 'src/a.ts': '' })).toEqual([
      `src/a.ts:1: src/a.ts ${named}`,
      `src/helpers/a.ts:1: src/helpers/a.ts ${named}`,
    ]);
  });

  test('every file of jobs is in a subfolder, which imports only lower ones', () => {
    expect(
      judge({
        'src/jobs/judge/a.ts': "import '../tables/b.ts';\nimport './c.ts';",
        'src/jobs/names.ts': '',
      }),
    ).toEqual([
      'src/jobs/names.ts:1: src/jobs/names.ts is not in a subfolder of jobs: tables, judge, repair',
    ]);
  });

  test('files that import each other are an import cycle', () => {
    const found = judge({
      'src/plan/a.ts': "import './b.ts';",
      'src/plan/b.ts': "import './c.ts';",
      'src/plan/c.ts': "import './a.ts';",
    });
    expect(found).toEqual([
      'src/plan/a.ts:1: import cycle: src/plan/a.ts → src/plan/b.ts → src/plan/c.ts → src/plan/a.ts',
    ]);
  });

  test('folders of one layer must not import each other both ways', () => {
    const found = judge({
      'src/plan/a.ts': "import '../report/a.ts';",
      'src/report/b.ts': "import '../plan/b.ts';",
    });
    expect(found).toEqual(['src/plan:1: folder import cycle: plan → report → plan']);
  });
});

describe('the core is pure', () => {
  test.each([
    'const now = Date.now();',
    'const now = new Date();',
    'const now = Date();',
    'const clock = Date;',
    'const { now } = Date;',
    "import { Temporal } from '@js-temporal/polyfill'; const now = Temporal.Now.instant();",
    'const luck = Math.random();',
    'const { random } = Math;',
    'const home = process.env.HOME;',
    'const home = globalThis.process;',
    'const f = (a: string) => { if (a) { return process.pid; } return 0; };',
    'const f = (x = process.pid) => x;',
    'const late = (performance.now() as number)!;',
    'const shorthand = { process };',
    'setTimeout(() => {}, 1);',
  ])('refuses %s', (text) => {
    expect(judge({ 'src/plan/a.ts': text })).toEqual([
      expect.stringMatching(/^src\/plan\/a\.ts:1: .* in src\/plan, which is pure/),
    ]);
    expect(judge({ 'src/adapters/a.ts': text })).toEqual([]);
  });

  test.each([
    'const then = new Date(0).toISOString();',
    'const then = Date.parse("2026-01-01T00:00:00Z");',
    'const isDate = (x: unknown) => x instanceof Date;',
    'const most = Math.max(1, 2);',
    "import { Temporal } from '@js-temporal/polyfill'; const day = Temporal.PlainDate.from('2026-01-18');",
    'for (const process of [1]) { String(process); }',
    'const f = (process: number) => process + 1;',
    'const f = ({ process }: { process: number }) => process;',
    'const facts = { process: 1 }; const one = facts.process;',
    '// Date.now() and process are only named here\nconst text = "Math.random()";',
    'interface F { process: string; fetch(): Date }',
    'type D = Date;',
  ])('allows %s', (text) => {
    expect(judge({ 'src/plan/a.ts': text })).toEqual([]);
  });
});

test('a main has at most 25 lines', () => {
  const lines = (count: number) => 'run();\n'.repeat(count);
  expect(judge({ 'actions/verify/main.ts': lines(25), 'cli/main.ts': lines(25) })).toEqual([]);
  expect(judge({ 'cli/main.ts': lines(26) })).toHaveLength(1);
  expect(judge({ 'actions/verify/main.ts': lines(26) })).toEqual([
    'actions/verify/main.ts:1: 26 lines, expected at most 25: move logic to src',
  ]);
});

test('an error names the file that does not parse', () => {
  expect(() => judge({ 'src/plan/a.ts': 'const = ;' })).toThrow(/^src\/plan\/a\.ts does not parse/);
});
