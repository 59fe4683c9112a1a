import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { allCases, type Case, KillMatrix, nameOf } from '../test/host/lib/kill-matrix.ts';

/*
 * The whole kill matrix: every operation of a deploy × before, in, unsaid, after × every fault.
 * `npm run kill-matrix -- reboot install-unit` runs the cases that have all these words;
 * `--results file` keeps what was found, and goes on where it ended; `--list` only lists.
 */

interface Result extends Case {
  readonly ending: string;
  readonly told: string;
  readonly seconds: number;
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { results: { type: 'string' }, list: { type: 'boolean', default: false } },
});

const matrix = await KillMatrix.start('kill-matrix-whole');
try {
  const chosen = allCases(matrix.plan).filter(({ op, phase, fault }) =>
    positionals.every((word) => [op, phase, fault].includes(word)),
  );
  if (values.list) console.log(chosen.map(nameOf).join('\n'));
  else await runAll(chosen);
} finally {
  await matrix.stop();
}

async function runAll(cases: readonly Case[]): Promise<void> {
  const results = [...readResults()];
  const known = new Set(results.map(nameOf));
  for (const each of cases.filter((one) => !known.has(nameOf(one)))) {
    const begun = performance.now();
    const { ending, told } = await matrix.run(each).catch((error: Error) => {
      console.error(error.message);
      return { ending: 'BROKEN', told: '' };
    });
    const seconds = Math.round((performance.now() - begun) / 1000);
    const result = { ...each, ending, told, seconds };
    console.log(`${nameOf(each)}: ${ending} (${told}, ${seconds} s)`);
    results.push(result);
    if (values.results !== undefined) appendFileSync(values.results, `${JSON.stringify(result)}\n`);
  }
  printTable(results);
  if (results.some(({ ending }) => ending === 'BROKEN')) process.exitCode = 1;
}

function readResults(): readonly Result[] {
  if (values.results === undefined || !existsSync(values.results)) return [];
  const lines = readFileSync(values.results, 'utf8').split('\n');
  return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as Result);
}

function printTable(results: readonly Result[]): void {
  const faults = [...new Set(results.map(({ fault }) => fault))];
  const rows = Map.groupBy(results, ({ index, op, phase }) => `${index} ${op}, ${phase}`);
  console.log(`\n| operation, phase | ${faults.join(' | ')} |`);
  console.log(`|---|${faults.map(() => '---|').join('')}`);
  for (const [name, found] of rows) {
    const cells = faults.map((fault) => found.find((each) => each.fault === fault)?.ending ?? '');
    console.log(`| ${name} | ${cells.join(' | ')} |`);
  }
}
