import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import packageJson from '../../package.json' with { type: 'json' };
import { type Machine, startMachine } from '../../sandbox/machine.ts';
import { runWorkflow, type WorkflowRun } from '../lib/act.ts';
import { ask, outputsOf, serveJob, unitPath } from './deploy-host.ts';

const root = join(import.meta.dirname, '../..');
const home = `${packageJson.repository.replace('github:', '')}@v${packageJson.version}`;

/** All that a repository needs that uses the action as one step. */
const workflow = `
on: workflow_dispatch
jobs:
  deploy:
    runs-on: ubuntu-latest
    environment: production
    steps:
      - id: celeriac
        uses: ${home}
        with:
          host: \${{ vars.CELERIAC_HOST }}
          port: \${{ vars.CELERIAC_PORT }}
          ssh-key: \${{ secrets.CELERIAC_SSH_KEY }}
          known-hosts: \${{ vars.CELERIAC_KNOWN_HOSTS }}
          http-probes: \${{ vars.PROBES }}
          memory-max: \${{ vars.MEMORY_MAX }}
          dry-run: \${{ vars.DRY_RUN }}
`;

let machine: Machine;
let repository: string;
let original: string;

beforeAll(async () => {
  repository = mkdtempSync(join(tmpdir(), 'celeriac-user-'));
  mkdirSync(join(repository, '.github/workflows'), { recursive: true });
  writeFileSync(join(repository, '.github/workflows/deploy.yml'), workflow);
  execFileSync('git', ['init', '--quiet', repository]);
  machine = await startMachine({ name: 'workflow-action', state: 'before' });
  original = await machine.readFile(unitPath);
});
afterAll(async () => {
  rmSync(repository, { recursive: true, force: true });
  await machine?.stop();
});

const run = (variables: Readonly<Record<string, string>>): Promise<WorkflowRun> =>
  runWorkflow('deploy.yml', 'workflow_dispatch', machine, {
    repository,
    uses: { [home]: root },
    variables: { PROBES: '', MEMORY_MAX: 'off', DRY_RUN: '', ...variables },
  });

it('is the whole pipeline in one step of another repository, back included', async () => {
  const dry = await run({ DRY_RUN: 'true' });
  expect(dry.code, dry.lines.join('\n')).toBe(0);
  expect(outputsOf(dry, 'celeriac')).toMatchObject({ changed: 'false', healthy: '', found: '20' });
  expect(await machine.readFile(unitPath)).toBe(original);

  const failed = await run({ PROBES: 'http://127.0.0.1/no-such-page' });
  expect(failed.code).toBe(1);
  expect(failed.lines.join('\n')).toContain('Undone: transaction');
  expect(outputsOf(failed, 'celeriac')).toMatchObject({ healthy: 'false' });
  expect(await machine.readFile(unitPath)).toBe(original);
});

it('keeps a release that passes the gate', { tags: ['nightly'] }, async () => {
  const green = await run({});
  expect(green.code, green.lines.join('\n')).toBe(0);
  expect(outputsOf(green, 'celeriac')).toMatchObject({ changed: 'true', healthy: 'true' });
  expect(await ask(machine, 'systemctl show celery-worker -p ActiveState --value')).toBe('active');
  expect(await serveJob(machine)).toBe('completed');
});
