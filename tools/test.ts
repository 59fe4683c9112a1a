import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import {
  type Count,
  countPythonTests,
  countStage,
  countTests,
  type Outcome,
  renderTable,
} from './test-report.ts';

const root = path.join(import.meta.dirname, '..');

/** Each is an npm script of its own; those of vitest and pytest count their tests, others are one. */
const stages = [
  { name: 'lint', kind: 'check' },
  { name: 'types', kind: 'check' },
  { name: 'boundaries', kind: 'check' },
  { name: 'unit', kind: 'vitest' },
  { name: 'python', kind: 'pytest' },
  { name: 'dist', kind: 'check' },
  { name: 'machines', kind: 'vitest' },
] as const;
type Stage = (typeof stages)[number];

function choose(names: readonly string[]): readonly Stage[] {
  const unknown = names.filter((name) => !stages.some((stage) => stage.name === name));
  if (unknown.length > 0) {
    const known = stages.map((stage) => stage.name).join(', ');
    console.error(`no such stage: ${unknown.join(', ')}; there are ${known}`);
    process.exit(2);
  }
  return names.length === 0 ? stages : stages.filter((stage) => names.includes(stage.name));
}

function run(stage: Stage, folder: string): Outcome {
  console.log(`\n=== ${stage.name}`);
  const report = path.join(folder, stage.name);
  const options = {
    vitest: ['--', '--reporter=default', '--reporter=json', `--outputFile.json=${report}`],
    pytest: ['--', '--reports', report],
    check: [],
  }[stage.kind];
  const start = performance.now();
  const { status } = spawnSync('npm', ['run', '--silent', stage.name, ...options], {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  const seconds = (performance.now() - start) / 1000;
  const ok = status === 0;
  return { name: stage.name, seconds, ...count(stage, report, ok) };
}

function count(stage: Stage, report: string, ok: boolean): Count {
  if (stage.kind === 'vitest') return countTests(report, ok);
  return stage.kind === 'pytest' ? countPythonTests(report, ok) : countStage(ok);
}

const chosen = choose(process.argv.slice(2));
const folder = mkdtempSync(path.join(tmpdir(), 'celeriac-test-'));
const outcomes = chosen.map((stage) => run(stage, folder));
rmSync(folder, { recursive: true, force: true });
console.log('\nNot in it: what takes an hour, `npm run long`.');
console.log(`\n${renderTable(outcomes)}`);
process.exitCode = outcomes.every((outcome) => outcome.failed === 0) ? 0 : 1;
