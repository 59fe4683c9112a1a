import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { listReferences } from '../lib/expressions.ts';
import { knownActions, repository, version } from '../lib/known-actions.ts';
import { type ContractContext, findPins, findWorkflowFaults } from '../lib/workflow-contract.ts';

const root = join(import.meta.dirname, '../..');
const folder = join(root, '.github/workflows');
const files = readdirSync(folder).filter((name) => /\.ya?ml$/.test(name));
const read = (file: string): string => readFileSync(join(folder, file), 'utf8');

/** These work on the runner alone. */
const onRunner = ['ci.yml', 'nightly.yml', 'release.yml'];
/** This one is called by others, for many hosts. */
const called = ['pipeline.yml'];
/** This one only looks, so a newer run may cut it off. */
const readers = ['plan.yml'];
const writers = files.filter((file) => ![...onRunner, ...called, ...readers].includes(file));

const { actions } = knownActions;

const findFaults = (file: string, text: string): Promise<readonly string[]> => {
  const context: ContractContext = { ...knownActions, writesToHosts: writers.includes(file) };
  return findWorkflowFaults(file, text, context);
};

describe.each(files)('%s', (file) => {
  it('follows every rule', async () => {
    expect(await findFaults(file, read(file))).toEqual([]);
  });
});

it('pins an action to the same commit everywhere', () => {
  const pins = new Map<string, Set<string>>();
  const composite = readFileSync(join(root, 'actions/fleet-host/action.yml'), 'utf8');
  const { runs } = parse(composite) as { runs: object };
  const texts = [...files.map(read), JSON.stringify({ jobs: { runs } })];
  for (const [action, commit] of texts.flatMap(findPins)) {
    pins.set(action, (pins.get(action) ?? new Set()).add(commit));
  }
  expect([...pins].filter(([, commits]) => commits.size > 1)).toEqual([]);
});

// A group has one pending run: a second one that waits cancels it.
it('lets no workflow push out a waiting run of another', () => {
  const groups = writers.map((file) => {
    const { concurrency } = parse(read(file)) as { readonly concurrency: { group: string } };
    return concurrency.group.replace('inputs.host || ', '');
  });
  expect(groups).toHaveLength(new Set(groups).size);
});

it('has a rollback and a soak wait on the host for a deploy that takes long', () => {
  for (const file of ['rollback.yml', 'soak.yml']) expect(read(file)).toMatch(/lock-timeout: 25m/);
});

it('tells the webhook of each step that changes or judges a host, by the clock or not', () => {
  interface Step {
    readonly uses?: string;
    readonly with?: Readonly<Record<string, string>>;
  }
  const steps = writers
    // It looks, and its summary is what people want of it.
    .filter((file) => file !== 'doctor.yml')
    .flatMap((file) => {
      const { jobs } = parse(read(file)) as { jobs: Record<string, { steps: readonly Step[] }> };
      return Object.values(jobs).flatMap((job) => job.steps);
    })
    .filter(({ uses = '' }) => actions[uses]?.inputs?.webhook !== undefined);
  expect(steps.length).toBeGreaterThan(6);
  const silent = steps.filter((each) => each.with?.webhook !== '${{ secrets.CELERIAC_WEBHOOK }}');
  expect(silent).toEqual([]);
});

it('confirms a release by checks, whatever the fleet file says', () => {
  const whole = parse(readFileSync(join(root, 'action.yml'), 'utf8')) as {
    readonly inputs: object;
    readonly outputs: object;
    readonly runs: { readonly steps: readonly { id: string; with: Record<string, string> }[] };
  };
  const gate = whole.runs.steps.find(({ id }) => id === 'gate')?.with;
  expect(gate?.mode).toBe('checks');
  expect(gate?.['soak-failure']).toBeUndefined();
  expect({ ...whole.inputs, ...whole.outputs }).not.toHaveProperty('mode');
  expect({ ...whole.inputs, ...whole.outputs }).not.toHaveProperty('soak-failure');
  expect(whole.outputs).not.toHaveProperty('soak');
  const deploy = parse(read('deploy.yml')) as {
    jobs: Record<string, { steps: { uses?: string; with?: Record<string, string> }[] }>;
  };
  const gates = Object.values(deploy.jobs)
    .flatMap(({ steps }) => steps)
    .filter(({ uses }) => uses === './actions/verify');
  expect(gates.map(({ with: given }) => given?.mode)).toEqual(['checks']);
});

it('lets one rollout of a fleet run at a time, and cuts none off', () => {
  const { concurrency } = parse(read('pipeline.yml')) as { concurrency?: object };
  expect(concurrency).toEqual({
    group:
      "celeriac-fleet-${{ inputs.environment }}-${{ inputs.fleet-file }}${{ inputs.dry-run && '-dry-run' || '' }}",
    'cancel-in-progress': false,
  });
});

describe('the job of a host of a fleet', () => {
  const text = readFileSync(join(root, 'actions/fleet-host/action.yml'), 'utf8');
  const { runs } = parse(text) as {
    runs: { steps: readonly { name: string; if?: string; with: Record<string, unknown> }[] };
  };
  const indexOf = (name: string) => runs.steps.findIndex((each) => each.name === name);

  it('confirms the release, whatever the fleet file says', () => {
    expect(runs.steps[indexOf('Deploy')]?.with.confirm).toBe('true');
  });

  it('is identified by its own keys, if the fleet file has some', () => {
    const start = runs.steps[indexOf('Start')]?.with;
    expect(start).toMatchObject({
      'known-hosts': '${{ inputs.known-hosts }}',
      'fleet-file': '${{ inputs.fleet-file }}',
    });
    for (const name of ['Deploy', 'Roll back']) {
      const given = runs.steps[indexOf(name)]?.with;
      expect(given?.['known-hosts']).toBe('${{ steps.start.outputs.known-hosts }}');
    }
  });

  it('tells the webhook what each of its steps tells', () => {
    for (const name of ['Deploy', 'Roll back']) {
      expect(runs.steps[indexOf(name)]?.with).toMatchObject({
        webhook: '${{ inputs.webhook }}',
        'webhook-when': '${{ inputs.webhook-when }}',
      });
    }
  });

  it('keeps its records for as long as a run can be run again', () => {
    const kept = runs.steps.filter(({ with: given }) => given['retention-days'] !== undefined);
    const records = kept.filter(({ name }) => name.startsWith('Record the'));
    expect(records.map(({ with: given }) => given['retention-days'])).toEqual([35, 35]);
  });

  it('takes a host back for real, whatever the fleet file says, but beneath no other release', () => {
    expect(runs.steps[indexOf('Roll back')]?.with).toMatchObject({
      'dry-run': 'false',
      'roll-back': 'newest:${{ inputs.roll-back }}',
    });
  });

  it('writes down that it begins, also to take it back', () => {
    const before = indexOf('Record the start');
    expect(runs.steps[before]).not.toHaveProperty('if');
    expect(runs.steps[indexOf('Start')]).not.toHaveProperty('if');
    expect(before).toBeLessThan(indexOf('Deploy'));
    expect(before).toBeLessThan(indexOf('Roll back'));
  });
});

it('reads only variables and secrets that the README tells people to set', () => {
  const readme = readFileSync(join(root, 'README.md'), 'utf8');
  const named = files
    .flatMap((file) => listReferences(parse(read(file))))
    .filter(([context]) => context === 'vars' || context === 'secrets')
    .map(([, name = '']) => name);
  expect(named).not.toHaveLength(0);
  expect(named.filter((name) => !readme.includes(`\`${name}\``))).toEqual([]);
});

describe('the key', () => {
  const jobsOf = (file: string) =>
    Object.values((parse(read(file)) as { jobs: Record<string, { environment?: string }> }).jobs);

  it.each([...writers, ...readers])('is read in %s only with an environment', (file) => {
    for (const job of jobsOf(file)) {
      const usesKey = JSON.stringify(job).includes('secrets.');
      const known = /^production$|^production-plan$|'production-scheduled'/;
      if (usesKey) expect(job.environment).toMatch(known);
    }
  });

  it('of deploy and rollback is that of the environment with reviewers', () => {
    for (const file of ['deploy.yml', 'rollback.yml']) {
      expect(jobsOf(file).map(({ environment }) => environment)).toEqual(['production']);
    }
  });

  it.each([
    ['cleanup.yml', 1],
    ['soak.yml', 2],
  ])('of %s depends on who started it', (file, jobs) => {
    const found = jobsOf(file).map(({ environment }) => environment);
    expect(found).toHaveLength(jobs);
    expect(found.filter((each) => each !== undefined)).toEqual([
      "${{ github.event_name == 'schedule' && 'production-scheduled' || 'production' }}",
    ]);
  });

  it('is in no job that may write to the repository', async () => {
    const soak = read('soak.yml');
    for (const [from, to] of [
      ['contents: read\n    outputs:', 'contents: read\n      issues: write\n    outputs:'],
      ['github-token: ${{ github.token }}', 'github-token: ${{ secrets.CELERIAC_SSH_KEY }}'],
    ] as const) {
      const broken = soak.replace(from, to);
      expect(broken).not.toBe(soak);
      const faults = (await findFaults('soak.yml', broken)).join('\n');
      expect(faults).toMatch(/issues: write is more than contents: read/);
    }
  });
});

describe('plan.yml', () => {
  const plan = parse(read('plan.yml')) as {
    on: object;
    concurrency: { group: string };
    jobs: Record<
      string,
      {
        if: string;
        environment?: string;
        permissions: object;
        steps: { uses?: string; with?: Record<string, unknown> }[];
      }
    >;
  };
  const jobs = Object.entries(plan.jobs);
  const withKey = jobs.filter(([, job]) => JSON.stringify(job).includes('secrets.'));

  it('runs for pull requests as they are, one run for each', () => {
    expect(Object.keys(plan.on)).toEqual(['pull_request']);
    expect(plan.concurrency.group).toContain('github.event.pull_request.number');
  });

  it('has its key in one job, which runs for no fork, and the right to write in another', () => {
    expect(withKey.map(([id, { environment }]) => [id, environment])).toEqual([
      ['plan', 'production-plan'],
    ]);
    expect(plan.jobs.plan?.if).toContain(
      '&& github.event.pull_request.head.repo.full_name == github.repository',
    );
    const writing = jobs.filter(([, { permissions }]) => /write/.test(JSON.stringify(permissions)));
    expect(writing.map(([id]) => id)).toEqual(['comment']);
    expect(plan.jobs.comment).not.toHaveProperty('environment');
  });

  it('only looks, by the user that may only look, at what deploy.yml changes', () => {
    const deploy = parse(read('deploy.yml')) as typeof plan;
    const stepsOf = (of: typeof plan) => Object.values(of.jobs).flatMap(({ steps }) => steps);
    const actionsOfPlan = stepsOf(plan).filter((step) => 'ssh-key' in (step.with ?? {}));
    expect(actionsOfPlan).toHaveLength(3);
    for (const { uses, with: given } of actionsOfPlan) {
      const own = {
        host: '${{ matrix.host }}',
        user: '${{ vars.CELERIAC_PLAN_USER }}',
        agent: 'installed',
        'known-hosts':
          "${{ vars.CELERIAC_HOST != '' && vars.CELERIAC_KNOWN_HOSTS || steps.keys.outputs.known-hosts }}",
        'dry-run': true,
      };
      const applied = { ...stepsOf(deploy).find((step) => step.uses === uses)?.with };
      // Nobody is told of a plan but by its comment.
      delete applied.webhook;
      expect(given).toEqual({ ...applied, ...own });
    }
  });
});

describe('pipeline.yml', () => {
  interface HostJob {
    readonly if?: string;
    readonly needs?: string | readonly string[];
    readonly strategy?: { readonly 'fail-fast'?: unknown; readonly matrix?: object };
    readonly concurrency?: unknown;
    readonly environment?: { readonly name: string };
    readonly steps: readonly { readonly uses?: string; readonly with?: Record<string, string> }[];
  }
  const text = read('pipeline.yml');
  const { jobs } = parse(text) as { readonly jobs: Readonly<Record<string, HostJob>> };
  const ofHosts = Object.entries(jobs).filter(([, job]) => job.strategy !== undefined);

  it('cuts off no job of a host: neither a failure beside it nor another run', () => {
    expect(ofHosts.map(([name]) => name)).toEqual([
      'canary',
      ...[1, 2, 3, 4].map((number) => `batch-${number}`),
      ...[1, 2, 3, 4].map((number) => `back-${number}`),
    ]);
    for (const [name, { strategy, concurrency }] of ofHosts) {
      expect(strategy?.['fail-fast']).toBe(false);
      // As deploy.yml and rollback.yml: neither pushes out a waiting run of the other.
      expect(concurrency).toEqual({
        group: name.startsWith('back-')
          ? 'celeriac-rollback-${{ matrix.host }}'
          : "celeriac-deploy-${{ matrix.host }}${{ inputs.dry-run && '-dry-run' || '' }}",
        'cancel-in-progress': false,
      });
    }
  });

  it('gives the key to jobs of the environment, and to no other', () => {
    for (const job of Object.values(jobs)) {
      const usesKey = JSON.stringify(job).includes('secrets.');
      expect(job.environment?.name).toBe(usesKey ? '${{ inputs.environment }}' : undefined);
    }
  });

  it('begins no matrix before the one ahead of it has ended, and none after a failed canary', () => {
    for (const number of [1, 2, 3, 4]) {
      const job = jobs[`batch-${number}`];
      const ahead = [1, 2, 3, 4].slice(0, number - 1).map((each) => `batch-${each}`);
      expect(job?.needs).toEqual(['plan', 'canary', ...ahead]);
      expect(job?.if).toContain("needs.canary.result != 'failure'");
      expect(job?.if).toContain('!cancelled()');
    }
  });

  it('tells each host the results of the jobs ahead of it, and the judges those of all', () => {
    const resultsOf = (names: readonly string[]) =>
      Object.fromEntries(names.map((name) => [name, `\${{ needs.${name}.result }}`]));
    const told = (name: string): unknown => {
      const given = jobs[name]?.steps.map((step) => step.with?.jobs).find(Boolean);
      return given === undefined ? undefined : JSON.parse(String(given));
    };
    const deploying = ['canary', 'batch-1', 'batch-2', 'batch-3', 'batch-4'];
    for (const [place, name] of deploying.entries()) {
      const ahead = deploying.slice(0, place);
      expect(told(name), name).toEqual(place === 0 ? undefined : resultsOf(ahead));
    }
    for (const name of ['decide', 'conclude']) expect(told(name)).toEqual(resultsOf(deploying));
  });

  it('gives the webhook to every job of a host, from an optional secret, and to no other', () => {
    const { on } = parse(text) as {
      readonly on: { readonly workflow_call: { secrets: Record<string, { required: boolean }> } };
    };
    const { CELERIAC_WEBHOOK: webhook } = on.workflow_call.secrets;
    expect(webhook?.required).toBe(false);
    const steps = Object.values(jobs).flatMap((job) => job.steps);
    const ofHosts = steps.filter(({ uses = '' }) => uses.includes('/actions/fleet-host@'));
    expect(ofHosts).toHaveLength(9);
    for (const step of ofHosts) {
      expect(step.with).toMatchObject({
        webhook: '${{ secrets.CELERIAC_WEBHOOK }}',
        'webhook-when': '${{ inputs.webhook-when }}',
      });
    }
    const named = JSON.stringify(steps.filter((step) => !ofHosts.includes(step)));
    expect(named).not.toContain('secrets.');
  });

  it('names the end of every host also after a cancelled run', () => {
    expect(jobs.conclude?.if).toContain('always()');
    expect(jobs.conclude?.needs).toEqual(Object.keys(jobs).filter((name) => name !== 'conclude'));
  });

  it('names this version of this repository, also in the action of a host', () => {
    const own = /owner\/celeriac[\w/.-]*@\S+/g;
    const composite = readFileSync(join(root, 'actions/fleet-host/action.yml'), 'utf8');
    const named = [...text.matchAll(own), ...composite.matchAll(own)].map(([name]) => name);
    expect(named.length).toBeGreaterThan(12);
    expect(named.filter((name) => !(name in actions))).toEqual([]);
  });

  it('is called in the docs with inputs and a secret that it has', () => {
    const page = readFileSync(join(root, 'docs/how-to/fleet.md'), 'utf8');
    const [, example = ''] = /^ {3}```yaml\n( {3}name: deploy\n.*?)^ {3}```/ms.exec(page) ?? [];
    const caller = parse(example) as {
      readonly jobs: { readonly fleet: { uses: string; with: object; secrets: object } };
    };
    const { on } = parse(text) as {
      readonly on: { readonly workflow_call: { inputs: object; secrets: object } };
    };
    const { uses, with: given, secrets } = caller.jobs.fleet;
    expect(uses).toBe(`${repository}/.github/workflows/pipeline.yml@${version}`);
    expect(on.workflow_call.inputs).toMatchObject(
      Object.fromEntries(Object.keys(given).map((name) => [name, expect.anything()])),
    );
    expect(Object.keys(secrets)).toEqual(Object.keys(on.workflow_call.secrets));
  });

  it('passes on every input of the action of a host', () => {
    const all = Object.keys(actions[`${repository}/actions/fleet-host@${version}`]?.inputs ?? {});
    expect(all.length).toBeGreaterThan(5);
    for (const [id, job] of ofHosts) {
      // A deploy rolls nothing back, and a dry run has nothing to roll back. No hosts come before a canary.
      const isBack = id.startsWith('back-');
      const leaves = new Set(isBack ? ['dry-run', 'jobs'] : ['roll-back']);
      if (id === 'canary') leaves.add('jobs');
      const step = job.steps.find(({ uses = '' }) => uses.includes('/actions/fleet-host@'));
      expect(Object.keys(step?.with ?? {}).sort()).toEqual(
        all.filter((name) => !leaves.has(name)).sort(),
      );
    }
  });
});

describe('doctor.yml', () => {
  it('changes nothing and sends nothing', () => {
    const { jobs } = parse(read('doctor.yml')) as {
      jobs: Record<string, { steps: { uses?: string; with?: Record<string, unknown> }[] }>;
    };
    const steps = Object.values(jobs)
      .flatMap((job) => job.steps)
      .filter((step) => 'host' in (step.with ?? {}));
    expect(steps.map((step) => step.with?.['dry-run'])).toEqual(steps.map(() => true));
    const verify = steps.filter(({ uses }) => uses === './actions/verify');
    expect(verify.map((step) => step.with)).toMatchObject([{ gate: 'none', confirm: false }]);
  });
});

describe('a release', () => {
  const release = read('release.yml');

  it.each([
    ['by a branch as well', '  push:\n    tags:', '  push:\n    branches: [main]\n    tags:'],
    [
      'in a job that runs the repository',
      '      - name: Create the release\n        run: |',
      '      - name: Create the release\n        run: |\n          bash .ci/run',
    ],
    [
      'in a job that checks it out',
      '      - uses: actions/download-artifact@',
      '      - uses: actions/checkout@de0fac2e4500dabe0009e67214ff5f5447ce83dd\n      - uses: actions/download-artifact@',
    ],
  ])('may not write to the repository %s', async (_, from, to) => {
    const broken = release.replaceAll(from, to);
    expect(broken).not.toBe(release);
    expect((await findFaults('release.yml', broken)).join('\n')).toMatch(
      /contents: write is more than contents: read/,
    );
  });

  it('comes after every test and the comparison of bundles', () => {
    const { jobs } = parse(release) as {
      jobs: Record<string, { needs?: string[]; steps: object[] }>;
    };
    expect(JSON.stringify(jobs.tests?.steps)).toContain('bash .ci/run');
    expect(jobs.attest?.needs).toContain('tests');
    expect(jobs.publish?.needs).toContain('attest');
  });
});

describe('the rules', () => {
  const deploy = read('deploy.yml');
  it.each([
    ['an unknown key', 'runs-on: ubuntu-latest', 'run-on: ubuntu-latest', /Unexpected value/],
    ['an unknown input', 'http-probes:', 'http-probe:', /has no input http-probe/],
    ['a required input left out', /^ +ssh-key: .*\n/m, '', /requires ssh-key/],
    ['an action that is not there', './actions/verify', './actions/verfy', /no action/],
    ['a tag instead of a commit', /@[0-9a-f]{40}/, '@v6', /not pinned/],
    ['a step that has no such id', 'steps.gate.outcome', 'steps.gat.outcome', /no earlier step/],
    ['an output that is not there', '.outputs.transaction', '.outputs.transactoin', /no output/],
    ['a later step', 'id: worker', 'id: later', /no earlier step has the id worker/],
    ['an input of no event', '{ inputs.dry-run }', '{ inputs.dryrun }', /no input dryrun/],
    ['a job that is not there', 'runs-on:', 'needs: build\n    runs-on:', /no dependencies/],
    ['an expression that is none', 'vars.CELERIAC_HOST }}', 'vars.CELERIAC_HOST', /expression/i],
    ['rights on top', 'permissions: {}', 'permissions: write-all', /expected \{\} on top/],
    ['rights to write', 'contents: read', 'contents: write', /more than contents: read/],
    ['a run that is cut off', 'in-progress: false', 'in-progress: true', /cut off/],
    ['one group for all hosts', '-${{ vars.CELERIAC_HOST }}', '', /for the workflow and the host/],
    ['a dry run that pushes out a deploy', "'-dry-run' ||", '', /dry runs apart/],
    [
      'a clock that pushes out a deploy',
      /^on:\n/m,
      "on:\n  schedule:\n    - cron: '5 4 * * *'\n",
      /by the clock/,
    ],
    ['a job without end', /^ +timeout-minutes: .*\n/m, '', /no timeout-minutes/],
  ])('find %s', async (_, from, to, fault) => {
    const broken = deploy.replace(from, to);
    expect(broken).not.toBe(deploy);
    expect((await findFaults('deploy.yml', broken)).join('\n')).toMatch(fault);
  });
});
