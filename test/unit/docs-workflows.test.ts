import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { findPins, findWorkflowFaults } from '../lib/workflow-contract.ts';

const root = join(import.meta.dirname, '../..');
const read = (path: string): string => readFileSync(join(root, path), 'utf8');
const tracked = execFileSync('git', ['ls-files', '*.md'], { cwd: root, encoding: 'utf8' });
const pages = tracked.split('\n').filter((path) => path !== '' && existsSync(join(root, path)));
const workflows = join('.github', 'workflows');

/** The text of each block of YAML on a page. */
const blocksOf = (page: string): readonly string[] =>
  [...read(page).matchAll(/^```ya?ml\n(.*?)^```$/gms)].map(([, block]) => block ?? '');

interface Use {
  readonly page: string;
  readonly action: string;
  readonly commit: string;
  readonly version: string;
}

/** What somebody else wrote: Celeriac's own actions are pinned when it is released. */
const uses: readonly Use[] = pages.flatMap((page) =>
  blocksOf(page)
    .flatMap((block) => [...block.matchAll(/\buses: ([\w./-]+)@(\S+)(?: +# (\S+))?/g)])
    .map(([, action = '', commit = '', version = '']) => ({ page, action, commit, version }))
    .filter(({ action }) => !action.startsWith('owner/celeriac')),
);

describe('what the docs show of workflows', () => {
  it('pins the actions of others by commit, and names its version', () => {
    expect(uses.length).toBeGreaterThan(4);
    const isPinned = ({ commit, version }: Use) =>
      /^[0-9a-f]{40}$/.test(commit) && /^v\d+\.\d+\.\d+$/.test(version);
    expect(uses.filter((use) => !isPinned(use))).toEqual([]);
  });

  it('pins them to the commits that the shipped workflows have', () => {
    const shipped = new Map(
      readdirSync(join(root, workflows)).flatMap((name) => findPins(read(join(workflows, name)))),
    );
    const others = uses.filter(({ action, commit }) => (shipped.get(action) ?? commit) !== commit);
    expect(others).toEqual([]);
  });
});

describe('the job that publishes the report', () => {
  const page = 'docs/how-to/publish-the-report.md';
  const deploy = read(join(workflows, 'deploy.yml'));
  const job = blocksOf(page).find((block) => block.startsWith('  pages:\n')) ?? '';

  it('is a valid part of deploy.yml, and asks for the rights of Pages alone', async () => {
    expect(job).not.toBe('');
    const context = { actions: actionsOf(deploy), writesToHosts: true };
    expect(
      await findWorkflowFaults('deploy.yml', `${deploy.trimEnd()}\n\n${job}`, context),
    ).toEqual([
      'job pages: permission pages: write is more than contents: read',
      'job pages: permission id-token: write is more than contents: read',
    ]);
    expect(job).not.toMatch(/secrets\.|vars\./);
  });

  it('takes the artifact that deploy.yml keeps', () => {
    const [, name] = /download-artifact@.*\n +with:\n +name: (.*)\n/.exec(job) ?? [];
    const [, kept] = /upload-artifact@.*\n +with:\n +name: (.*)\n/.exec(deploy) ?? [];
    expect([name, name]).toEqual([kept, expect.stringContaining('celeriac-report-')]);
  });
});

/** The local actions that a workflow uses. */
function actionsOf(workflow: string) {
  const local = [...workflow.matchAll(/uses: (\.\/\S+)/g)].map(([, path = '']) => path);
  return Object.fromEntries(local.map((path) => [path, parse(read(join(path, 'action.yml')))]));
}
