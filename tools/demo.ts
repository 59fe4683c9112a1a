/**
 * A demo of the whole pipeline: a throwaway VPS in the state `before`, the real deploy.yml run by
 * act, and the result. Exits with the workflow's exit code; `--keep` keeps the VPS running.
 */
import { createWriteStream, readFileSync } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type Machine, SandboxError, startMachine } from '../sandbox/machine.ts';
import { reportFiles } from '../src/report/page/page.ts';
import { type Artifacts, runWorkflow } from '../test/lib/act.ts';

const root = join(import.meta.dirname, '..');
const folder = join(root, '.sandbox');
const paths = {
  log: join(folder, 'demo.log'),
  summary: join(folder, 'demo-summary.md'),
  report: join(folder, 'demo-report'),
};

/** Lines to show of one diff; the log file has all of them. */
const shownDiffLines = 24;

const say = (line: string): void => console.log(line);
const shown = (path: string): string => relative(process.cwd(), path);

type Look = ReadonlyMap<string, string>;

async function lookAt(machine: Machine): Promise<Look> {
  const program = readFileSync(join(import.meta.dirname, 'demo_look.py'));
  const { stdout } = await machine.run('python3 -I -S -', { input: program });
  const pairs = stdout.trimEnd().split('\n');
  return new Map(pairs.map((line) => line.split('\t') as [string, string]));
}

/** Shows the looks side by side, one row per fact. */
function showLooks(looks: Readonly<Record<string, Look>>): void {
  const titles = Object.keys(looks);
  const names = [...(Object.values(looks)[0]?.keys() ?? [])];
  const rows = [
    ['', ...titles],
    ...names.map((name) => [name, ...titles.map((title) => looks[title]?.get(name) ?? '')]),
  ];
  const widths = ['', ...titles].map((_, column) =>
    Math.max(...rows.map((row) => row[column]?.length ?? 0)),
  );
  for (const row of rows) {
    const cells = row.map((cell, column) => cell.padEnd(widths[column] ?? 0));
    say(`   ${cells.join('   ').trimEnd()}`);
  }
}

/** Passes lines on; of a long diff only the beginning, and the number of lines left out. */
class Folder {
  readonly #write: (line: string) => void;
  #diffLines = 0;

  constructor(write: (line: string) => void) {
    this.#write = write;
  }

  take(line: string): void {
    if (/^ {11}[-+ ]/.test(line)) {
      this.#diffLines += 1;
      if (this.#diffLines <= shownDiffLines) this.#write(line);
      return;
    }
    this.end();
    this.#write(line);
  }

  end(): void {
    const left = this.#diffLines - shownDiffLines;
    this.#diffLines = 0;
    if (left > 0) this.#write(`           … ${left} more lines: ${shown(paths.log)}`);
  }
}

/** The exit code, and the page of the report; `null`: there is none. */
async function deploy(machine: Machine): Promise<{ code: number; page: string | null }> {
  await mkdir(folder, { recursive: true });
  await rm(paths.report, { recursive: true, force: true });
  const log = createWriteStream(paths.log);
  const terminal = new Folder((line) => say(line === '' ? '' : `   ${line}`));
  const run = await runWorkflow('deploy.yml', 'push', machine, {
    variables: {
      CELERIAC_HTTP_PROBES: 'http://127.0.0.1/api/health',
      CELERIAC_CONCURRENCY: '1',
      CELERIAC_MEMORY_MAX: '800M',
      CELERIAC_MEMORY_HIGH: '600M',
    },
    onLine: (line) => {
      log.write(`${line}\n`);
      terminal.take(line);
    },
  });
  terminal.end();
  log.end();
  await writeFile(paths.summary, run.summaries.join('\n'));
  return { code: run.code, page: await keepReport(run.artifacts) };
}

/** The artifact as a person downloads it. */
async function keepReport(artifacts: Artifacts): Promise<string | null> {
  const [files] = Object.values(artifacts);
  if (files === undefined) return null;
  await mkdir(paths.report, { recursive: true });
  for (const [name, text] of Object.entries(files)) {
    await writeFile(join(paths.report, name), text);
  }
  return join(paths.report, reportFiles.page);
}

/** Prints how long a part took. */
async function timed<Result>(part: string, work: () => Promise<Result>): Promise<Result> {
  const began = performance.now();
  const result = await work();
  say(`\n   ${part}: ${((performance.now() - began) / 1000).toFixed(0)} s`);
  return result;
}

async function demo(keep: boolean): Promise<number> {
  say('1. A throwaway VPS with the usual faults\n');
  const machine = await timed('the VPS is up', () =>
    startMachine({
      name: 'demo',
      state: 'before',
      // The demo includes swap, which needs its own kernel.
      kind: 'vm',
      detached: keep,
      say: (line) => say(`   ${line}`),
    }),
  );
  try {
    const before = await lookAt(machine);
    showLooks({ before });
    say('\n2. Merge to main: act runs .github/workflows/deploy.yml');
    const { code, page } = await timed('the workflow took', () => deploy(machine));
    say(`\n3. ${code === 0 ? 'Green' : 'Red'}: the same VPS before and after\n`);
    showLooks({ before, after: await lookAt(machine) });
    say(`\n   job summary   ${shown(paths.summary)}`);
    say(`   whole log     ${shown(paths.log)}`);
    if (page !== null) say(`   the page      ${pathToFileURL(page).href}`);
    if (keep) {
      say('   look around   npm run sandbox -- ssh --name demo');
      say('   end it        npm run sandbox -- down --name demo');
    }
    return code;
  } finally {
    if (!keep) await machine.stop();
  }
}

// An interrupted demo removes its VPS when the process exits.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, () => process.exit(130));
}
try {
  process.exitCode = await demo(process.argv.includes('--keep'));
} catch (error) {
  console.error(error instanceof SandboxError ? `demo: ${error.message}` : error);
  process.exitCode = 1;
}
