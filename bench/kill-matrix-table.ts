import type { Kind } from '../sandbox/instance.ts';
import {
  type Case,
  CUTS,
  type Ending,
  FAULTS,
  type Fault,
  isFile,
  nameOf,
  PHASES,
} from '../test/host/lib/kill-matrix/cases.ts';

/** The result of a case. */
export interface Result extends Case {
  readonly kind: Kind;
  readonly ending: Ending | 'BROKEN';
  /** What the run learned: the result of the transaction, or `gone`. */
  readonly told: string;
  readonly seconds: number;
  readonly commit: string;
  /** Its start, as ISO 8601. */
  readonly at: string;
  /** What is broken. */
  readonly why?: string;
}

/** The last result of each case, in the order of the plan. */
export function newest(results: readonly Result[]): readonly Result[] {
  const last = new Map(results.map((each) => [`${each.kind} ${nameOf(each)}`, each]));
  const phases = [...PHASES, ...CUTS];
  const place = ({ index, phase }: Result): number => index * phases.length + phases.indexOf(phase);
  return [...last.values()].toSorted((one, other) => place(one) - place(other));
}

/** One table with its summary, and what it is of. */
interface Part {
  readonly of: 'container' | 'vm' | 'files';
  readonly cases: number;
  readonly text: string;
}

/** The tables: all faults on containers, the cases on the VM, and the files. */
export const renderTables = (all: readonly Result[]): string =>
  partsOf(all)
    .map(({ text }) => text)
    .join('\n\n');

function partsOf(all: readonly Result[]): readonly Part[] {
  const results = newest(all);
  const ofPlan = results.filter((each) => !isFile(each));
  const parts: Part[] = (['container', 'vm'] as const)
    .map((kind) => ({ of: kind, found: ofPlan.filter((each) => each.kind === kind) }))
    .filter(({ found }) => found.length > 0)
    .map(({ of, found }) => ({
      of,
      cases: found.length,
      text: `${summaryOf(found, wholeOf(found, ofPlan))}\n\n${tableOf(found, 'operation')}`,
    }));
  const ofFiles = results.filter(isFile);
  if (ofFiles.length > 0) {
    const text = `${summaryOf(ofFiles, null)}\n\n${tableOf(ofFiles, 'file')}`;
    parts.push({ of: 'files', cases: ofFiles.length, text });
  }
  return parts;
}

/** The parts of a page that was written before. */
function readParts(page: string): readonly Part[] {
  const results = page.split(`\n${RESULTS}\n`)[1] ?? '';
  return results.split(/\n(?=On (?:container hosts|a virtual machine), )/).flatMap((text) => {
    const begin = /^On (container hosts|a virtual machine), (\d+)( of \d+)? cases:/.exec(
      text.trim(),
    );
    if (begin === null) return [];
    const [, where, cases, ofWhole] = begin;
    const of = ofWhole === undefined ? 'files' : where === 'a virtual machine' ? 'vm' : 'container';
    return [{ of, cases: Number(cases), text: text.trim() }];
  });
}

/** How many cases there are. */
function wholeOf(results: readonly Result[], all: readonly Result[]): number {
  const operations = new Set(all.map(({ index }) => index)).size;
  // On the virtual machine, each operation once.
  return operations * (results[0]?.kind === 'vm' ? 1 : PHASES.length * FAULTS.length);
}

/** @param whole how many cases there are; `null`: not said */
function summaryOf(results: readonly Result[], whole: number | null): string {
  const count = (ending: Result['ending']) =>
    results.filter((each) => each.ending === ending).length;
  const where = results[0]?.kind === 'vm' ? 'a virtual machine' : 'container hosts';
  const median = results.map((each) => each.seconds).toSorted((one, other) => one - other)[
    Math.floor(results.length / 2)
  ];
  const days = [...new Set(results.map(({ at }) => at.slice(0, 10)))].toSorted();
  const commits = [...new Set(results.map(({ commit }) => `\`${commit}\``))];
  const cases = whole === null ? results.length : `${results.length} of ${whole}`;
  return [
    `On ${where}, ${cases} cases: ${count('old')} ended old,`,
    `${count('new')} new, ${count('BROKEN')} broken. Run on ${days.join(' and ')} at commit ${commits.join(' and ')};`,
    `a case took ${median} s (median).`,
  ].join(' ');
}

function tableOf(results: readonly Result[], what: 'operation' | 'file'): string {
  const faults = FAULTS.filter((fault) => results.some((each) => each.fault === fault));
  const rows = Map.groupBy(results, ({ index, op, phase }) => `${index} | \`${op}\` | ${phase}`);
  const cellOf = (found: readonly Result[], fault: Fault): string =>
    found.find((each) => each.fault === fault)?.ending ?? '–';
  return [
    `| | ${what} | phase | ${faults.join(' | ')} |`,
    `|${'---|'.repeat(faults.length + 3)}`,
    ...[...rows].map(
      ([name, found]) => `| ${name} | ${faults.map((fault) => cellOf(found, fault)).join(' | ')} |`,
    ),
  ].join('\n');
}

const RESULTS = '## Results';

/**
 * The page for docs/reference. A table of the page as it was stays where `results` has fewer cases:
 * the results of an earlier run may be gone with their machine.
 */
export function renderDocument(
  results: readonly Result[],
  before: string,
): { readonly page: string; readonly kept: readonly string[] } {
  const [now, were] = [partsOf(results), readParts(before)];
  const chosen = (['container', 'vm', 'files'] as const).flatMap((of) => {
    const [is, was] = [now, were].map((parts) => parts.find((each) => each.of === of));
    const best = (is?.cases ?? 0) < (was?.cases ?? 0) ? was : is;
    return best === undefined ? [] : [best];
  });
  const kept = chosen
    .filter((part) => were.includes(part))
    .map(({ of, cases }) => `${of} (${cases} cases)`);
  return { page: renderPage(chosen), kept };
}

const renderPage = (parts: readonly Part[]): string =>
  `<!-- Written by \`npm run kill-matrix -- --write\` from the results of a run. -->

# The kill matrix

A deploy that changes everything that a deploy can change is interrupted at each of its operations by
each of eight faults. After each case, the host is inspected without Celeriac's help: the unit file,
the support module, the checked-out commit, the packages in the environment,
whether the unit is enabled, the worker and its memory limit. All of it must be as before the deploy,
or all of it as after it, never a mixture.

## Results of a case

- **old**: as before the deploy. The worker serves, and a job sent through Redis is completed.
- **new**: as after a deploy without a fault, in the same way.
- **BROKEN**: neither of them, or not completely: a fault of Celeriac.
- **–**: not run.

Each case also requires that no temporary file, lock, armed guard or failed unit is left, that a message
of a dead worker is kept or its job is done, and that the ledger and the report of the next run say
what happened.

One result is not a fault: before this deploy the unit is not enabled, so a host that reboots before
\`guard-unit\` has recorded the state of the worker comes up without it, as it would without a deploy.

## Phases

- **before**: the operation is about to begin.
- **in**: in the middle of it, at its first change to a file, or 0.3 s into its first command.
- **unsaid**: it is done, but the journal does not record that yet.
- **after**: it is done, and the journal records that.

After the last operation comes \`release\`, the entry in the ledger.

Files have four more, within their writing. Each file that a deploy writes is cut in each of them once
or more: by the death of its writer, of everything, or of the host.

- **created**: its temporary file exists, and is empty.
- **written**: all is written to it, and not yet synced.
- **synced**: it is synced, and not yet renamed.
- **renamed**: it has its name, and its folder is not yet synced.

## Faults

- **work-killed**: the process that carries out the transaction gets SIGKILL; the run is still connected.
- **runner-killed**: the agent and its SSH connection get SIGKILL; the transaction continues.
- **all-killed**: both.
- **link-cut**: all packets are lost in both directions, and the run gives up.
- **reboot**: \`reboot -f\`: nothing is stopped first.
- **power-cut**: the power is cut and comes back. On a container, all of its processes end at once, and
  everything written is kept. On the virtual machine, the content of the page cache is lost, too.
- **disk-full**: the disk is completely full until the transaction has ended.
- **state-full**: the same for a separate file system at \`/var/lib/celeriac\`.

Here the guard's timer fires every few seconds instead of every 20 s, and an unconfirmed release is rolled
back after 3 s.

${RESULTS}

${parts.map(({ text }) => text).join('\n\n')}
`;
