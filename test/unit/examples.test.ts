import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { knownActions, repository, version } from '../lib/known-actions.ts';
import { findPins, findWorkflowFaults } from '../lib/workflow-contract.ts';

const root = join(import.meta.dirname, '../..');
const workflow = '.github/workflows/deploy.yml';
const examples = readdirSync(join(root, 'examples'), { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => name);

describe.each(examples)('the workflow of the example %s', (name) => {
  const text = readFileSync(join(root, 'examples', name, workflow), 'utf8');

  it('follows every rule of the shipped workflows', async () => {
    const context = { ...knownActions, writesToHosts: true };
    expect(await findWorkflowFaults('deploy.yml', text, context)).toEqual([]);
  });

  it('pins the actions of others as the shipped workflows do', () => {
    const shipped = new Map(findPins(readFileSync(join(root, workflow), 'utf8')));
    const others = findPins(text).filter(([action]) => !action.startsWith(repository));
    expect(others.map(([action]) => action)).toEqual(['actions/checkout']);
    for (const [action, commit] of others) expect(commit).toBe(shipped.get(action));
  });

  it('uses the whole pipeline of this version, which rolls back what its gate refuses', () => {
    const { jobs } = parse(text) as { jobs: { deploy: { steps: { uses: string }[] } } };
    expect(jobs.deploy.steps.map(({ uses }) => uses)).toContain(`${repository}@${version}`);
  });
});
