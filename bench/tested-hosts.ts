import { execFileSync } from 'node:child_process';
import { appendFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { cacheFolder } from '../sandbox/folders.ts';
import { tryRow } from '../test/host/lib/tested-hosts/row-run.ts';
import { ROWS, type Row, rowName } from '../test/host/lib/tested-hosts/rows.ts';
import { readOptions } from './options.ts';
import { newest, type Result, renderDocument, renderTable } from './tested-hosts-table.ts';

/*
 * Celeriac on Debian 11, 12 and 13, with several versions of Celery, both brokers, both logins.
 *
 *   npm run tested-hosts                     try the missing rows, then print the table
 *   npm run tested-hosts -- trixie redis     only rows with all these words
 *   -- --again                               also repeat failed rows
 *   -- --machines 2                          in parallel; default 1
 *   -- --results FILE                        default: a file in the cache, by commit
 *   -- --list | --table | --write            only print the rows or the table, or write the page
 */

const ROOT = join(import.meta.dirname, '..');
const PAGE = join(ROOT, 'docs/reference/tested-hosts.md');

const { values, positionals } = readOptions({
  allowPositionals: true,
  options: {
    again: { type: 'boolean', default: false },
    machines: { type: 'string', default: '1' },
    results: { type: 'string' },
    list: { type: 'boolean', default: false },
    table: { type: 'boolean', default: false },
    write: { type: 'boolean', default: false },
  },
});
const commit = readCommit();
const resultsPath =
  values.results ?? join(cacheFolder(), '..', 'tested-hosts', `${commit.replace(' ', '-')}.jsonl`);
const rows = ROWS.filter((row) =>
  positionals.every((word) => rowName(row).split(' ').includes(word)),
);

if (values.list) console.log(rows.map(rowName).join('\n'));
else if (values.table) console.log(renderTable(readResults()));
else if (values.write) writeFileSync(PAGE, renderDocument(readResults()));
else await tryAll();

async function tryAll(): Promise<void> {
  mkdirSync(dirname(resultsPath), { recursive: true });
  const done = newest(readResults()).filter(({ failed }) => !failed || !values.again);
  const names = new Set(done.map(rowName));
  const left = rows.filter((row) => !names.has(rowName(row)));
  console.log(`${left.length} of ${rows.length} hosts to try; results in ${resultsPath}`);
  const workers = Array.from({ length: Number(values.machines) }, async (_, at) => {
    for (let row = left.shift(); row !== undefined; row = left.shift()) await tryOne(row, at);
  });
  await Promise.all(workers);
  const results = newest(readResults());
  console.log(`\n${renderTable(results)}`);
  const passed = new Set(results.filter(({ failed }) => !failed).map(rowName));
  if (!rows.every((row) => passed.has(rowName(row)))) process.exitCode = 1;
}

async function tryOne(row: Row, at: number): Promise<void> {
  const begun = performance.now();
  const about = { ...row, commit, at: new Date().toISOString() };
  try {
    const tried = await tryRow(row, `tested-hosts-${at + 1}`);
    const seconds = Math.round((performance.now() - begun) / 1000);
    const { failed } = tried;
    console.log(`${rowName(row)}: ${failed ? `FAILED at ${failed.step}` : 'ok'} (${seconds} s)`);
    if (failed) console.error(failed.why);
    appendFileSync(resultsPath, `${JSON.stringify({ ...about, ...tried, seconds })}\n`);
  } catch (error) {
    // The host itself did not come up as it should: not a result; the next run tries it again.
    console.error(`${rowName(row)}: not run: ${(error as Error).message}`);
    process.exitCode = 1;
  }
}

function readResults(): readonly Result[] {
  if (!existsSync(resultsPath)) return [];
  const lines = readFileSync(resultsPath, 'utf8').split('\n');
  return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as Result);
}

/** `changed`: what was tried is not what is committed. */
function readCommit(): string {
  const git = (...words: readonly string[]): string =>
    execFileSync('git', words, { cwd: ROOT, encoding: 'utf8' }).trim();
  const changed = git('status', '--porcelain', '--', 'src', 'host', 'actions', 'examples') !== '';
  return `${git('rev-parse', '--short', 'HEAD')}${changed ? ' changed' : ''}`;
}
