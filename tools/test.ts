import { type ChildProcess, spawn } from 'node:child_process';
import path from 'node:path';
import { findBrowser } from './find-browser.ts';
import { makeScratch, removeScratch } from './scratch.ts';
import { runSideBySide, type Screen, terminal } from './side-by-side.ts';
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

/**
 * Each stage is an npm script; vitest and pytest stages count their tests, others count as one. Those
 * that are `alone` start machines, and use all processors.
 */
const stages = [
  { name: 'lint', kind: 'check', alone: false },
  { name: 'types', kind: 'check', alone: false },
  { name: 'boundaries', kind: 'check', alone: false },
  { name: 'unit', kind: 'vitest', alone: false },
  { name: 'browser', kind: 'vitest', alone: false },
  { name: 'python', kind: 'pytest', alone: false },
  { name: 'dist', kind: 'check', alone: false },
  { name: 'machines', kind: 'vitest', alone: true },
  { name: 'nightly', kind: 'vitest', alone: true },
] as const;
type Stage = (typeof stages)[number];

/** The number of stages at a time. */
const SIDE_BY_SIDE = 2;

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

const isNight = process.argv.includes('--all');
const running = new Set<ChildProcess>();
let interrupted = false;

async function run(stage: Stage, folder: string, screen: Screen): Promise<Outcome> {
  if (interrupted) {
    return { name: stage.name, seconds: 0, passed: 0, failed: 1, note: '', failures: ['not run'] };
  }
  screen.write('stdout', `\n=== ${stage.name}\n`);
  const report = path.join(folder, stage.name);
  const options = {
    vitest: ['--', '--reporter=default', '--reporter=json', `--outputFile.json=${report}`],
    pytest: ['--', '--reports', report, ...(isNight ? ['--every-line'] : [])],
    check: [],
  }[stage.kind];
  const start = performance.now();
  const { ok, output } = await runScript(stage.name, options, screen);
  const seconds = (performance.now() - start) / 1000;
  const counted = count(stage, report, ok);
  // Failed tests are named; for other failures the last lines of the output are shown.
  const told = ok || counted.failures.length > 0 ? [] : lastLines(output);
  return { name: stage.name, seconds, ...counted, failures: [...counted.failures, ...told] };
}

/** Runs an npm script, shows its output, and keeps the end of it. */
function runScript(
  name: string,
  options: readonly string[],
  screen: Screen,
): Promise<{ ok: boolean; output: string }> {
  const isTerminal = process.stdout.isTTY === true;
  const child = spawn('npm', ['run', '--silent', name, ...options], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...(isTerminal ? { FORCE_COLOR: '1' } : { NO_COLOR: '1' }) },
  });
  let output = '';
  for (const stream of ['stdout', 'stderr'] as const) {
    child[stream].on('data', (chunk: Buffer) => {
      screen.write(stream, chunk);
      output = (output + chunk.toString()).slice(-20_000);
    });
  }
  running.add(child);
  return new Promise((resolve) => {
    child.on('error', ({ message }) => resolve({ ok: false, output: `npm: ${message}` }));
    child.on('close', (code) => {
      running.delete(child);
      resolve({ ok: code === 0, output });
    });
  });
}

/** Runs those that may run side by side, then the others, one after another. */
async function runAll(chosen: readonly Stage[], folder: string): Promise<readonly Outcome[]> {
  const together = chosen.filter(({ alone }) => !alone).sort(byStart);
  if (together.length > 1) {
    const names = together.map(({ name }) => name).join(', ');
    console.log(`${names}: ${SIDE_BY_SIDE} at a time; each is shown once it has ended.`);
  }
  const works = together.map((stage) => (screen: Screen) => run(stage, folder, screen));
  const outcomes = [...(await runSideBySide(works, SIDE_BY_SIDE))];
  for (const stage of chosen.filter(({ alone }) => alone)) {
    outcomes.push(await run(stage, folder, terminal));
  }
  const place = ({ name }: Outcome) => chosen.findIndex((stage) => stage.name === name);
  return outcomes.sort((a, b) => place(a) - place(b));
}

/** The one that takes longest, and often waits, beside all the others. */
function byStart(a: Stage, b: Stage): number {
  return Number(b.name === 'python') - Number(a.name === 'python');
}

function count(stage: Stage, report: string, ok: boolean): Count {
  if (stage.name === 'browser' && !ok && findBrowser() === null) return withoutBrowser;
  if (stage.kind === 'vitest') {
    return countTests(report, ok, stage.name === 'nightly' ? 'nightly' : 'daily');
  }
  return stage.kind === 'pytest' ? countPythonTests(report, ok) : countStage(ok);
}

// What was shown late is shown, and the sum is true: what is stopped, or was not begun, has failed.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => {
    interrupted = true;
    for (const child of running) child.kill(signal);
  });
}
const chosen = choose(process.argv.slice(2));
const folder = makeScratch();
const outcomes = await runAll(chosen, folder);
removeScratch(folder);
if (chosen.some(({ name }) => name === 'machines') && !chosen.some((s) => s.name === 'nightly')) {
  console.log('\nNightly tests were not run: `npm run test:all` includes them.');
}
console.log(`\n${renderTable(outcomes)}`);
process.exitCode = outcomes.every((outcome) => outcome.failed === 0) ? 0 : 1;
