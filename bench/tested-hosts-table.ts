import { ROWS, type Row, rowName, STEPS, type Tried } from '../test/host/lib/tested-hosts/rows.ts';

/** The result of a row. */
export interface Result extends Row, Tried {
  readonly commit: string;
  /** Its start, as ISO 8601. */
  readonly at: string;
  readonly seconds: number;
}

/** The last result of each row, in the rows' order. */
export function newest(results: readonly Result[]): readonly Result[] {
  const last = new Map(results.map((each) => [rowName(each), each]));
  return ROWS.flatMap((row) => last.get(rowName(row)) ?? []);
}

const HEADS = ['Debian', 'systemd', 'Python', 'Celery', 'installed by', 'broker', 'login', 'app'];

/** The table of all rows that were tried. */
export function renderTable(results: readonly Result[]): string {
  const lines = newest(results).map((each) => {
    const { versions, installed, login, app, steps, failed } = each;
    const cells = STEPS.map((step) =>
      failed?.step === step ? '**failed**' : (steps[step] ?? 'not run'),
    );
    const by = { system: "Debian's packages", venv: 'venv', uv: 'uv' }[installed];
    const login_ = login === 'root' ? 'root' : 'sudo';
    const { debian, systemd, python, celery, broker } = versions;
    return [debian, systemd, python, celery, by, broker, login_, app, ...cells];
  });
  const heads = [...HEADS, ...STEPS];
  return [heads, heads.map(() => '---'), ...lines]
    .map((cells) => `| ${cells.join(' | ')} |`)
    .join('\n');
}

/** The page for docs/reference. */
export function renderDocument(results: readonly Result[]): string {
  const shown = newest(results);
  const days = [...new Set(shown.map(({ at }) => at.slice(0, 10)))].toSorted();
  const commits = [...new Set(shown.map(({ commit }) => `\`${commit}\``))];
  const green = shown.filter(({ failed }) => failed === undefined).length;
  return `<!-- Written by \`npm run tested-hosts -- --write\` from the results of a run. -->

# Tested hosts

Celeriac's actions were run against each of these hosts as a user runs them, and what each step left was
judged over plain SSH: the unit's text and state, the checked-out commit, no failed unit, and a job of the
app that a worker completes. ${green} of ${shown.length} hosts passed every step; run on ${days.join(' and ')} at commit
${commits.join(' and ')}. The hosts are containers with their own systemd, sshd and broker.

- **provision**: a container has no swap of its own, and the run says so. Swap itself is tested on virtual
  machines.
- **deploy**: the commit and a corrected unit, then a verify that confirms the release.
- **no-op**: the same deploy again changes nothing and restarts nothing.
- **broken release**: a commit whose worker dies once it is ready; the old commit and unit serve again.
- **roll-back**: a second good release, then back to the first.
- **clean-up**: a row whose task is gone is repaired, and a second run finds nothing.
- **verify**: all checks pass, with probes through the queues.

\`slideshow\` is the sandbox's own app; the others are in [examples](../../examples).

${renderTable(results)}
`;
}
