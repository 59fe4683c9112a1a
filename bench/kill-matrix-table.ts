import type { Kind } from '../sandbox/instance.ts';
import {
  type Case,
  type Ending,
  FAULTS,
  type Fault,
  nameOf,
  PHASES,
} from '../test/host/lib/kill-matrix/cases.ts';

/** What became of a case. */
export interface Result extends Case {
  readonly kind: Kind;
  readonly ending: Ending | 'BROKEN';
  /** What the run itself was told: the transaction's result, or `gone`. */
  readonly told: string;
  readonly seconds: number;
  readonly commit: string;
  /** When it began, as ISO 8601. */
  readonly at: string;
  /** Of what is broken. */
  readonly why?: string;
}

/** The last result of each case, in the order of the plan. */
export function newest(results: readonly Result[]): readonly Result[] {
  const last = new Map(results.map((each) => [`${each.kind} ${nameOf(each)}`, each]));
  const place = ({ index, phase }: Result): number => index * PHASES.length + PHASES.indexOf(phase);
  return [...last.values()].toSorted((one, other) => place(one) - place(other));
}

/** Both tables: all faults on containers, and what was run on the VM. */
export function renderTables(all: readonly Result[]): string {
  const results = newest(all);
  const parts = (['container', 'vm'] as const)
    .map((kind) => results.filter((each) => each.kind === kind))
    .filter((of) => of.length > 0)
    .map((of) => `${summaryOf(of, results)}\n\n${tableOf(of)}`);
  return parts.join('\n\n');
}

function summaryOf(results: readonly Result[], all: readonly Result[]): string {
  const count = (ending: Result['ending']) =>
    results.filter((each) => each.ending === ending).length;
  const where = results[0]?.kind === 'vm' ? 'a virtual machine' : 'container hosts';
  const median = results.map((each) => each.seconds).toSorted((one, other) => one - other)[
    Math.floor(results.length / 2)
  ];
  const days = [...new Set(results.map(({ at }) => at.slice(0, 10)))].toSorted();
  const commits = [...new Set(results.map(({ commit }) => `\`${commit}\``))];
  const operations = new Set(all.map(({ index }) => index)).size;
  // On the virtual machine each operation once.
  const whole = results[0]?.kind === 'vm' ? 1 : PHASES.length * FAULTS.length;
  return [
    `On ${where}, ${results.length} of ${operations * whole} cases: ${count('old')} ended old,`,
    `${count('new')} new, ${count('BROKEN')} broken. Run on ${days.join(' and ')} at commit ${commits.join(' and ')};`,
    `a case took ${median} s (median).`,
  ].join(' ');
}

function tableOf(results: readonly Result[]): string {
  const faults = FAULTS.filter((fault) => results.some((each) => each.fault === fault));
  const rows = Map.groupBy(results, ({ index, op, phase }) => `${index} | \`${op}\` | ${phase}`);
  const cellOf = (found: readonly Result[], fault: Fault): string =>
    found.find((each) => each.fault === fault)?.ending ?? '–';
  return [
    `| | operation | phase | ${faults.join(' | ')} |`,
    `|${'---|'.repeat(faults.length + 3)}`,
    ...[...rows].map(
      ([name, found]) => `| ${name} | ${faults.map((fault) => cellOf(found, fault)).join(' | ')} |`,
    ),
  ].join('\n');
}

/** The page of the reference. */
export const renderDocument = (results: readonly Result[]): string =>
  `<!-- Written by \`npm run kill-matrix -- --write\` from the results of a run. -->

# The kill matrix

A deploy that changes everything a deploy can change, cut at each of its operations by each of eight
faults. After each, the host is inspected without Celeriac's help: the unit file, the support
module, the commit that is checked out, the packages in the environment, the job database, whether
the unit is enabled, the worker and its memory limit. All of it must be as before the deploy, or all
of it as after: never half.

## How it ended

- **old**: as before the deploy. The worker serves, and a job sent through Redis is completed.
- **new**: as after a deploy without a fault, in the same way.
- **BROKEN**: neither, or not whole; a fault of Celeriac.
- **–**: not run.

Also required each time: nothing temporary is left, no lock, no armed guard, no failed unit; a message
that a dead worker had is kept or its job is done; the ledger and the next run's report tell what
happened.

One thing is no fault: the unit is not enabled before this deploy, so a host that boots before
\`guard-unit\` has noted how the worker ran comes up without it, as it would with no deploy at all.

## When: the phase

- **before**: the operation is about to begin.
- **in**: in the middle of its work, at the first change that it makes to a file, or 0.3 s into its first command.
- **unsaid**: it is done, and the journal does not say so yet.
- **after**: it is done and written down.

\`release\` is what follows the last operation: the entry in the ledger.

## What: the fault

- **work-killed**: the process that carries out the transaction gets SIGKILL; the run is still connected.
- **runner-killed**: the agent and its SSH connection get SIGKILL; the work goes on.
- **all-killed**: both.
- **link-cut**: packets are lost, both ways, and the run gives up.
- **reboot**: \`reboot -f\`: nothing is told to end.
- **power-cut**: the power goes and comes back. On a container: all of its processes end at once, and
  what was written is kept. On the virtual machine also what only the page cache had is lost.
- **disk-full**: no block is left on the disk until the transaction has ended.
- **state-full**: the same for a file system of its own under \`/var/lib/celeriac\`.

The guard's timer ticks every few seconds here, not every 20, and a release that nobody confirms is put back
after 3 s.

## Results

${renderTables(results)}
`;
