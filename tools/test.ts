import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { findBrowser } from './find-browser.ts';
import {
  type Count,
  countPythonTests,
  countStage,
  countTests,
  lastLines,
  type Outcome,
  renderTable,
  withoutBrowser,
} from './test-report.ts';

const root = path.join(import.meta.dirname, '..');

/** Each stage is an npm script; vitest and pytest stages count their tests, others count as one. */
const stages = [
  { name: 'lint', kind: 'check' },
  { name: 'types', kind: 'check' },
  { name: 'boundaries', kind: 'check' },
  { name: 'unit', kind: 'vitest' },
  { name: 'browser', kind: 'vitest' },
  { name: 'python', kind: 'pytest' },
  { name: 'dist', kind: 'check' },
  { name: 'machines', kind: 'vitest' },
  { name: 'nightly', kind: 'vitest' },
] as const;
type Stage = (typeof stages)[number];

/** `--all`: also the nightly tests. */
function choose(words: readonly string[]): readonly Stage[] {
  const names = words.filter((word) => word !== '--all');
  const unknown = names.filter((name) => !stages.some((stage) => stage.name === name));
  if (unknown.length > 0) {
    const known = stages.map((stage) => stage.name).join(', ');
    console.error(`unknown stage: ${unknown.join(', ')}; expected ${known}`);
    process.exit(2);
  }
  if (names.length > 0) return stages.filter((stage) => names.includes(stage.name));
  return stages.filter((stage) => stage.name !== 'nightly' || words.includes('--all'));
}

async function run(stage: Stage, folder: string): Promise<Outcome> {
  console.log(`\n=== ${stage.name}`);
  const report = path.join(folder, stage.name);
  const options = {
    vitest: ['--', '--reporter=default', '--reporter=json', `--outputFile.json=${report}`],
    pytest: ['--', '--reports', report],
    check: [],
  }[stage.kind];
  const start = performance.now();
  const { ok, output } = await runScript(stage.name, options);
  const seconds = (performance.now() - start) / 1000;
  const counted = count(stage, report, ok);
  // Failed tests are named; for other failures the last lines of the output are shown.
  const told = ok || counted.failures.length > 0 ? [] : lastLines(output);
  return { name: stage.name, seconds, ...counted, failures: [...counted.failures, ...told] };
}

/** Runs an npm script, prints its output, and keeps the end of it. */
function runScript(
  name: string,
  options: readonly string[],
): Promise<{ ok: boolean; output: string }> {
  const terminal = process.stdout.isTTY === true;
  const child = spawn('npm', ['run', '--silent', name, ...options], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...(terminal ? { FORCE_COLOR: '1' } : { NO_COLOR: '1' }) },
  });
  let output = '';
  for (const [stream, shown] of [
    [child.stdout, process.stdout],
    [child.stderr, process.stderr],
  ] as const) {
    stream.on('data', (chunk: Buffer) => {
      shown.write(chunk);
      output = (output + chunk.toString()).slice(-20_000);
    });
  }
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => resolve({ ok: code === 0, output }));
  });
}

function count(stage: Stage, report: string, ok: boolean): Count {
  if (stage.name === 'browser' && !ok && findBrowser() === null) return withoutBrowser;
  if (stage.kind === 'vitest') {
    return countTests(report, ok, stage.name === 'nightly' ? 'nightly' : 'daily');
  }
  return stage.kind === 'pytest' ? countPythonTests(report, ok) : countStage(ok);
}

const chosen = choose(process.argv.slice(2));
const folder = mkdtempSync(path.join(tmpdir(), 'celeriac-test-'));
const outcomes: Outcome[] = [];
for (const stage of chosen) outcomes.push(await run(stage, folder));
rmSync(folder, { recursive: true, force: true });
if (chosen.some(({ name }) => name === 'machines') && !chosen.some((s) => s.name === 'nightly')) {
  console.log('\nNightly tests were not run: `npm run test:all` includes them.');
}
console.log(`\n${renderTable(outcomes)}`);
process.exitCode = outcomes.every((outcome) => outcome.failed === 0) ? 0 : 1;
