import { expect, test } from 'vitest';
import type { AppProcess } from '../../../src/celery/app-process.ts';
import { HostError } from '../../../src/model/errors.ts';
import type { CommandQuery } from '../../../src/model/facts/probe.ts';
import type { FactQuery, FactsFor } from '../../../src/model/facts.ts';
import type { OwnCheck } from '../../../src/model/own-check.ts';
import { seconds } from '../../../src/model/units.ts';
import { runOwnCommands } from '../../../src/use-case/run-own-commands.ts';

const common = { contains: null, timeoutSeconds: seconds(20) };
const checks: readonly OwnCheck[] = [
  { ...common, kind: 'command', name: 'one', argv: ['python', 'a.py'], exitCode: 0 },
  { ...common, kind: 'url', name: 'two', url: 'http://127.0.0.1/', status: null },
  { ...common, kind: 'command', name: 'three', argv: ['./b'], exitCode: 0 },
];
const known: AppProcess = {
  kind: 'known',
  process: { unit: 'w.service', interpreter: ['/venv/python'], app: 'shop', pythonPath: [] },
  workingDirectory: '/srv',
};
const fact = { kind: 'ended' as const, code: 0, output: '', seconds: seconds(1) };

function host(answer: (query: CommandQuery) => typeof fact) {
  const asked: (CommandQuery | undefined)[] = [];
  const notes: string[] = [];
  const ports = {
    agent: {
      async look<const Query extends FactQuery>(query: Query) {
        asked.push(query.command);
        return { command: answer(query.command as CommandQuery) } as unknown as FactsFor<Query>;
      },
    },
    onProgress: (one: unknown) => void notes.push((one as { message: string }).message),
  };
  return { asked, notes, ports };
}

const wanted = { ownChecks: checks, dryRun: false, unit: 'w.service' };

test('each command runs once, as the app', async () => {
  const { asked, notes, ports } = host(() => fact);
  const results = await runOwnCommands(ports, wanted, known);
  expect([...results]).toEqual([
    ['one', { kind: 'ran', fact }],
    ['three', { kind: 'ran', fact }],
  ]);
  const base = { unit: 'w.service', interpreter: ['/venv/python'], timeoutSeconds: 20 };
  expect(asked).toEqual([
    { ...base, argv: ['python', 'a.py'] },
    { ...base, argv: ['./b'] },
  ]);
  expect(notes).toEqual(['check: one', 'check: three']);
});

test('a dry run runs none, nor does an app of which nothing is known', async () => {
  const { asked, ports } = host(() => fact);
  const rehearsed = await runOwnCommands(ports, { ...wanted, dryRun: true }, known);
  expect(rehearsed.get('one')).toEqual({ kind: 'not-run', why: 'dry run' });
  const unknown = await runOwnCommands(ports, wanted, { kind: 'unknown', missing: 'app' });
  expect(unknown.get('three')).toMatchObject({ kind: 'not-run' });
  expect(asked).toEqual([]);
});

test('a command that the host refuses was not run; the next one is', async () => {
  const { ports } = host(({ argv }) => {
    if (argv[0] === 'python') throw new HostError('no such command', { step: 'look', next: '' });
    return fact;
  });
  const results = await runOwnCommands(ports, wanted, known);
  expect(results.get('one')).toEqual({ kind: 'not-run', why: 'no such command' });
  expect(results.get('three')?.kind).toBe('ran');
});
