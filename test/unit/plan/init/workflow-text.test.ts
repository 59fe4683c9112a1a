import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { actions } from '../../../../src/config/action-inputs.ts';
import { pipelineInputs } from '../../../../src/config/pipeline-manifest.ts';
import { repository, version } from '../../../../src/generated/version.ts';
import { workflowText } from '../../../../src/plan/init/workflow-text.ts';
import { findPins, findWorkflowFaults } from '../../../lib/workflow-contract.ts';

const root = join(import.meta.dirname, '../../../..');
const read = (path: string): string => readFileSync(join(root, path), 'utf8');
const text = workflowText({ host: 'vps.example.com', branch: 'main' }, { repository, version });
const jobs = Object.entries(
  (parse(text) as { jobs: Record<string, { steps: { uses: string; with: object }[] }> }).jobs,
);

describe('the workflow that init writes', () => {
  test('is the one that the linters read', () => {
    expect(read('test/fixtures/init/celeriac.yml')).toBe(text);
  });

  test("is valid to GitHub's own parser", async () => {
    const context = { actions: {}, writesToHosts: false };
    const faults = await findWorkflowFaults('celeriac.yml', text, context);
    // Its own actions are not in the repository that uses them, and have a tag of their own.
    expect(faults.filter((fault) => !fault.includes(repository))).toEqual([]);
  });

  test('deploys the branch, whatever its name', () => {
    const odd = { host: '2001:db8::1', branch: 'release: "2"' };
    const other = parse(workflowText(odd, { repository, version }));
    expect(other.jobs.soak.concurrency.group).toBe('celeriac-soak-2001:db8::1');
    expect(other.on.push.branches).toEqual(['release: "2"']);
  });

  test.each(jobs)('%s gives the action inputs that it has', (_job, { steps }) => {
    const own = steps.find(({ uses }) => uses.startsWith(`${repository}`));
    const [, action = ''] = /\/actions\/([a-z-]+)@/.exec(own?.uses ?? '') ?? [];
    const known = Object.keys(action === '' ? pipelineInputs : actions[action as 'verify']);
    expect(known).toEqual(expect.arrayContaining(Object.keys(own?.with ?? {})));
    expect(own?.uses.endsWith(`@v${version}`)).toBe(true);
  });

  test('has the concurrency groups of the shipped workflows', () => {
    const { jobs: own } = parse(text) as { jobs: Record<string, { concurrency: object }> };
    for (const name of ['deploy', 'cleanup', 'soak']) {
      const { concurrency } = parse(read(`.github/workflows/${name}.yml`)) as {
        concurrency: { group: string };
      };
      const group = concurrency.group.replace('${{ vars.CELERIAC_HOST }}', 'vps.example.com');
      // By hand, only deploys are dry runs.
      const expected = name === 'deploy' ? group : group.replace(/\$\{\{.*/, '');
      expect(own[name]?.concurrency).toEqual({ ...concurrency, group: expected });
    }
  });

  test('uses the checkout of the workflows here', () => {
    const pinOf = (yaml: string) => new Map(findPins(yaml)).get('actions/checkout');
    expect(pinOf(text)).toBe(pinOf(read('.github/workflows/deploy.yml')));
  });
});
