import { execFileSync } from 'node:child_process';
import { appendFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { cacheFolder } from '../sandbox/folders.ts';
import type { Kind } from '../sandbox/instance.ts';
import {
  allCases,
  type Case,
  fileCases,
  isFile,
  nameOf,
  powerCuts,
  someFileCases,
  spread,
} from '../test/host/lib/kill-matrix/cases.ts';
import { KillMatrix, NotRun } from '../test/host/lib/kill-matrix/matrix.ts';
import { newest, type Result, renderDocument, renderTables } from './kill-matrix-table.ts';
import { readOptions } from './options.ts';

/*
 * The kill matrix: every operation of a deploy × before, in, unsaid, after × every fault.
 *
 *   npm run kill-matrix                          run the missing cases, then print the table
 *   npm run kill-matrix -- reboot install-unit   only cases with all these words
 *   npm run kill-matrix -- files                 the cuts within the writing of files
 *   -- --sample files                            each file and moment once, faults by turns
 *   -- --kind vm --sample                        each operation once, with a real power cut
 *   -- --machines 4                              in parallel; default: the number of processors
 *   -- --again                                   also repeat broken cases
 *   -- --results FILE                            default: a file in the cache, by commit
 *   -- --list | --table | --write                only print the cases or the table, or write the page,
 *                                                but for tables that have more cases there
 */

const ROOT = join(import.meta.dirname, '..');
const PAGE = join(ROOT, 'docs/reference/kill-matrix.md');

const { values, positionals } = readOptions({
  allowPositionals: true,
  options: {
    kind: { type: 'string', default: 'container' },
    sample: { type: 'boolean', default: false },
    machines: { type: 'string', default: String(availableParallelism()) },
    again: { type: 'boolean', default: false },
    results: { type: 'string' },
    list: { type: 'boolean', default: false },
    table: { type: 'boolean', default: false },
    write: { type: 'boolean', default: false },
  },
});
const kind = readKind(values.kind);
const commit = readCommit();
const resultsPath =
  values.results ?? join(cacheFolder(), '..', 'kill-matrix', `${commit.replace(' ', '-')}.jsonl`);

if (values.table) console.log(renderTables(readResults()));
else if (values.write) writePage();
else await runAll();

function writePage(): void {
  const { page, kept } = renderDocument(readResults(), readFileSync(PAGE, 'utf8'));
  writeFileSync(PAGE, page);
  if (kept.length > 0)
    console.log(`${resultsPath} has fewer; left as they are: ${kept.join(', ')}`);
}

async function runAll(): Promise<void> {
  const first = await KillMatrix.start(`kill-matrix-${kind}-1`, kind);
  const cases = choose(first);
  if (values.list) {
    console.log(cases.map(nameOf).join('\n'));
    await first.stop();
    return;
  }
  mkdirSync(dirname(resultsPath), { recursive: true });
  const known = newest(readResults().filter((result) => result.kind === kind));
  const isDone = ({ ending }: Result) => ending !== 'BROKEN' || !values.again;
  const done = new Set(known.filter(isDone).map(nameOf));
  const left = cases.filter((each) => !done.has(nameOf(each)));
  console.log(`${left.length} of ${cases.length} cases to run; results in ${resultsPath}`);
  const more = Math.min(Number(values.machines), left.length) - 1;
  const others = Array.from({ length: Math.max(more, 0) }, async (_, at) => {
    await work(await first.beside(`kill-matrix-${kind}-${at + 2}`), left);
  });
  const endings = await Promise.allSettled([work(first, left), ...others]);
  await first.stop();
  for (const ending of endings) if (ending.status === 'rejected') console.error(ending.reason);
  const results = newest(readResults());
  console.log(`\n${renderTables(results)}`);
  const ran = new Set(results.filter((result) => result.kind === kind).map(nameOf));
  const isWhole = cases.every((each) => ran.has(nameOf(each)));
  if (!isWhole || results.some(({ ending }) => ending === 'BROKEN')) process.exitCode = 1;
}

function choose({ plan, files }: KillMatrix): readonly Case[] {
  const [ofFiles, ofPlan] = values.sample
    ? [someFileCases(files), powerCuts(plan)]
    : [fileCases(files), allCases(plan)];
  // A real power cut in each operation once: that is what the VM is for.
  const cases = kind === 'vm' && values.sample ? ofPlan : [...ofPlan, ...ofFiles];
  return spread(cases).filter((each) =>
    positionals.every((word) =>
      word === 'files' ? isFile(each) : [each.op, each.phase, each.fault].includes(word),
    ),
  );
}

/** Runs cases until none is left. */
async function work(matrix: KillMatrix, left: Case[]): Promise<void> {
  for (let each = left.shift(); each !== undefined; each = left.shift()) {
    const result = await runOne(matrix, each);
    if (result === null) continue;
    console.log(`${nameOf(each)}: ${result.ending} (${result.told}, ${result.seconds} s)`);
    appendFileSync(resultsPath, `${JSON.stringify(result)}\n`);
  }
}

/** Null: not run; the next run tries it again. */
async function runOne(matrix: KillMatrix, each: Case): Promise<Result | null> {
  const begun = performance.now();
  const about = { ...each, kind: matrix.kind, commit, at: new Date().toISOString() };
  const secondsSince = () => Math.round((performance.now() - begun) / 100) / 10;
  try {
    const verdict = await matrix.run(each);
    return { ...about, ...verdict, seconds: secondsSince() };
  } catch (error) {
    const why = (error as Error).message;
    console.error(why);
    if (error instanceof NotRun) return null;
    return { ...about, ending: 'BROKEN', told: '', seconds: secondsSince(), why };
  }
}

function readResults(): readonly Result[] {
  if (!existsSync(resultsPath)) return [];
  const lines = readFileSync(resultsPath, 'utf8').split('\n');
  return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as Result);
}

function readKind(word: string): Kind {
  if (word === 'container' || word === 'vm') return word;
  throw new Error(`--kind ${word}: expected container or vm`);
}

/** The commit under test; marks uncommitted changes. */
function readCommit(): string {
  const git = (...words: readonly string[]) =>
    execFileSync('git', words, { cwd: ROOT, encoding: 'utf8' }).trim();
  const changed = git('status', '--porcelain', '--', 'host', 'src', 'sandbox') !== '';
  return git('rev-parse', '--short=12', 'HEAD') + (changed ? ' changed' : '');
}
