import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { parse } from 'yaml';
import packageJson from '../../../package.json' with { type: 'json' };
import { manifests } from '../../../src/config/action-manifests.ts';

const root = join(import.meta.dirname, '../../..');
const home = packageJson.repository.replace('github:', '');

interface Action {
  readonly inputs: Readonly<Record<string, unknown>>;
  readonly runs: {
    readonly steps: readonly { readonly uses: string; readonly with: Record<string, string> }[];
  };
}
const action = parse(readFileSync(join(root, 'action.yml'), 'utf8')) as Action;

it('has the inputs of the four actions, each passed on', () => {
  const passed = action.runs.steps.flatMap((step) =>
    [...JSON.stringify(step.with).matchAll(/inputs\.([a-z0-9-]+)/g)].map(([, name]) => name),
  );
  expect([...new Set(passed)].sort()).toEqual(Object.keys(action.inputs).sort());
  const four = [
    manifests.provision,
    manifests['deploy-worker'],
    manifests.cleanup,
    manifests.verify,
  ];
  const known = four.flatMap(({ inputs }) => Object.keys(inputs));
  const missing = known.filter((name) => !(name in action.inputs));
  // A soak is no part of a deploy.
  expect([...new Set(missing)].sort()).toEqual(['mode', 'soak-failure']);
});

it('uses the actions of this version, with inputs that they have', () => {
  for (const { uses, with: values } of action.runs.steps) {
    const [, name = ''] = /^.*\/actions\/([a-z-]+)@/.exec(uses) ?? [];
    expect(uses).toBe(`${home}/actions/${name}@v${packageJson.version}`);
    const { inputs } = manifests[name as keyof typeof manifests];
    expect(Object.keys(values).filter((each) => !(each in inputs))).toEqual([]);
  }
});

it('judges the inputs of all its steps first, and without the keys', () => {
  const [first, ...others] = action.runs.steps;
  expect(first?.uses).toContain('/actions/check-inputs@');
  const needed = others.flatMap((step) => Object.keys(step.with));
  // A rollback after the gate gets its transaction from the deploy.
  const open = needed.filter((name) => !['ssh-key', 'ssh-key-passphrase', 'mode'].includes(name));
  expect(Object.keys(first?.with ?? {}).sort()).toEqual([...new Set(open)].sort());
});

it('requires nothing of the host that the other steps only warn of', () => {
  const gate = action.runs.steps.find(({ uses }) => uses.includes('/actions/verify@'));
  const required = ['swap-size', 'concurrency', 'memory-max', 'memory-high'];
  expect(Object.keys(gate?.with ?? {}).filter((name) => required.includes(name))).toEqual([]);
  expect(gate?.with.mode).toBe('checks');
});

it('is shown in the README as it is used', () => {
  const readme = readFileSync(join(root, 'README.md'), 'utf8');
  expect(readme).toContain(`- uses: ${home}@v${packageJson.version} `);
});

interface Step {
  readonly name?: string;
  readonly if?: string;
  readonly uses: string;
  readonly with: Record<string, string>;
}

it('has the steps of deploy.yml, with inputs of the same names', () => {
  const deploy = parse(readFileSync(join(root, '.github/workflows/deploy.yml'), 'utf8')) as {
    readonly jobs: { readonly deploy: { readonly steps: readonly Step[] } };
  };
  const steps = deploy.jobs.deploy.steps.filter(({ uses }) => uses.startsWith('./actions/'));
  const shown = ({ name, if: condition = '', uses }: Step) => ({
    name,
    // Inputs of an action are text.
    condition: condition.replace("inputs.dry-run != 'true'", '!inputs.dry-run'),
    action: /actions\/([a-z-]+)/.exec(uses)?.[1],
  });
  const own = action.runs.steps as readonly Step[];
  expect(steps.map(shown)).toEqual(own.map(shown));
  for (const [at, step] of steps.entries()) {
    expect(Object.keys(own[at]?.with ?? {})).toEqual(
      expect.arrayContaining(Object.keys(step.with)),
    );
  }
});
