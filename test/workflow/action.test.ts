import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import packageJson from '../../package.json' with { type: 'json' };
import { type Machine, startMachine } from '../../sandbox/machine.ts';
import { runWorkflow, type WorkflowOptions, type WorkflowRun } from '../lib/act.ts';
import { ask, serveJob, unitPath } from './deploy-host.ts';

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
      - name: Celeriac
        uses: ${home}
        with:
          host: \${{ vars.CELERIAC_HOST }}
          port: \${{ vars.CELERIAC_PORT }}
          ssh-key: \${{ secrets.CELERIAC_SSH_KEY }}
          known-hosts: \${{ vars.CELERIAC_KNOWN_HOSTS }}
          http-probes: \${{ vars.PROBES }}
          checks: \${{ vars.CHECKS }}
          confirm-after: off
          memory-max: \${{ vars.MEMORY_MAX }}
          dry-run: \${{ vars.DRY_RUN }}
`;

let machine: Machine;
let repository: string;
/** The repository of the actions. */
let celeriac: string;
let original: string;

beforeAll(async () => {
  repository = mkdtempSync(join(tmpdir(), 'celeriac-user-'));
  mkdirSync(join(repository, '.github/workflows'), { recursive: true });
  writeFileSync(join(repository, '.github/workflows/deploy.yml'), workflow);
  const git = (...words: string[]) => execFileSync('git', ['-C', repository, ...words]);
  git('init', '--quiet');
  git('add', '.');
  git('-c', 'user.name=a', '-c', 'user.email=a@localhost', 'commit', '--quiet', '-m', 'deploy');
  // Without what Git ignores, which act would copy for each step.
  celeriac = mkdtempSync(join(tmpdir(), 'celeriac-used-'));
  for (const name of ['action.yml', 'actions']) {
    cpSync(join(root, name), join(celeriac, name), { recursive: true });
  }
  machine = await startMachine({ name: 'workflow-action', state: 'before' });
  original = await machine.readFile(unitPath);
});
afterAll(async () => {
  for (const folder of [repository, celeriac]) rmSync(folder, { recursive: true, force: true });
  await machine?.stop();
});

const run = (
  variables: Readonly<Record<string, string>>,
  options: Pick<WorkflowOptions, 'onLine'> = {},
): Promise<WorkflowRun> =>
  runWorkflow('deploy.yml', 'workflow_dispatch', machine, {
    ...options,
    repository,
    uses: { [home]: celeriac },
    variables: { PROBES: '', CHECKS: '', MEMORY_MAX: 'off', DRY_RUN: '', ...variables },
  });

/** Those of the action; its own steps have the same name in the log. */
const outputsOf = ({ steps }: WorkflowRun): Readonly<Record<string, string>> =>
  steps.find(({ outputs }) => 'found' in outputs && 'healthy' in outputs)?.outputs ?? {};

it('is the whole pipeline in one step of another repository, back included', async () => {
  const dry = await run({ DRY_RUN: 'true' });
  expect(dry.code, dry.lines.join('\n')).toBe(0);
  expect(outputsOf(dry)).toMatchObject({ changed: 'false', healthy: '', found: '20' });
  expect(await machine.readFile(unitPath)).toBe(original);

  // An input of the last step stops the run before its first.
  const refused = await run({ CHECKS: '[{ name: board, comand: x }]' });
  const log = refused.lines.join('\n');
  expect(refused.code, log).toBe(1);
  expect(log).toContain('unknown key `comand`; did you mean `command`?');
  expect(outputsOf(refused)).toMatchObject({ changed: 'false', found: '', healthy: '' });
  expect(await machine.readFile(unitPath)).toBe(original);

  const failed = await run({ PROBES: 'http://127.0.0.1/no-such-page' });
  expect(failed.code).toBe(1);
  expect(failed.lines.join('\n')).toContain('Undone: transaction');
  expect(outputsOf(failed)).toMatchObject({ healthy: 'false' });
  expect(await machine.readFile(unitPath)).toBe(original);
});

it('keeps a release that passes the gate', { tags: ['nightly'] }, async () => {
  const green = await run({});
  expect(green.code, green.lines.join('\n')).toBe(0);
  expect(outputsOf(green)).toMatchObject({ changed: 'true', healthy: 'true' });
  expect(await ask(machine, 'systemctl show celery-worker -p ActiveState --value')).toBe('active');
  expect(await serveJob(machine)).toBe('completed');
});

it('says what a run has left that is cancelled in the middle', { tags: ['nightly'] }, async () => {
  let isCancelled = false;
  const cut = await run(
    { MEMORY_MAX: '900M' },
    {
      onLine: (line, cancel) => {
        if (isCancelled || !/\d+\/\d+ drain celery-worker\.service/.test(line)) return;
        isCancelled = true;
        cancel();
      },
    },
  );
  const log = cut.lines.join('\n');
  expect(isCancelled, log).toBe(true);
  expect(cut.code).not.toBe(0);
  // In one step within the action, by its own inputs; those that had ended, or had not begun, say nothing.
  expect(log.match(/was interrupted before it could report; the state of/g), log).toHaveLength(2);
  expect(log).toMatch(
    /^ +deploy-worker was interrupted before it could report; the state of \S+ after it:$/m,
  );
  expect(log).toMatch(/^ +worker: \w+ \([\w-]+\)$/m);
  expect(log).toMatch(/^ +transaction: \S+ of .* \(deploy-worker\) is /m);
  expect(log).toMatch(/^ +next: nothing needs to be done on the host/m);
  expect(cut.summaries.filter((each) => each.includes('was interrupted'))).toHaveLength(1);
  expect(await serveJob(machine)).toBe('completed');
});
