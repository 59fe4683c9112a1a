import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import packageJson from '../../package.json' with { type: 'json' };
import { type Machine, startMachine } from '../../sandbox/machine.ts';
import { initFor, printOnConsole } from '../host/lib/init.ts';
import { runWorkflow, type WorkflowRun } from '../lib/act.ts';
import { ask, serveJob } from './deploy-host.ts';

const root = join(import.meta.dirname, '../..');
const home = `${packageJson.repository.replace('github:', '')}@v${packageJson.version}`;

let machine: Machine;
/** The repository of the actions. */
let celeriac: string;

beforeAll(async () => {
  // Without what Git ignores, which act would copy for each step.
  celeriac = mkdtempSync(join(tmpdir(), 'celeriac-used-'));
  for (const name of ['action.yml', 'actions']) {
    cpSync(join(root, name), join(celeriac, name), { recursive: true });
  }
  machine = await startMachine({ name: 'workflow-init', state: 'before' });
});
afterAll(async () => {
  rmSync(celeriac, { recursive: true, force: true });
  await machine?.stop();
});

it('deploys, cleans up and judges with the files that init wrote, as they are', {
  tags: ['nightly'],
}, async () => {
  const print = await printOnConsole(machine);
  const repository = await initFor(machine, '--fingerprint', print);
  expect(repository.code, repository.err).toBe(0);
  const git = (...words: string[]) => execFileSync('git', ['-C', repository.folder, ...words]);
  git('add', '.');
  git('-c', 'user.name=a', '-c', 'user.email=a@localhost', 'commit', '--quiet', '-m', 'Celeriac');
  const [, knownHosts = ''] = /--body '([^']+)'/.exec(repository.out) ?? [];
  const host = { ...machine, host: '', sshPort: 0, key: machine.key, knownHosts };
  const green = await runWorkflow('celeriac.yml', 'push', host, {
    repository: repository.folder,
    uses: { [home]: celeriac },
  });
  expect(green.code, green.lines.join('\n')).toBe(0);
  expect(await ask(machine, 'systemctl show celery-worker -p ActiveState --value')).toBe('active');
  expect(await serveJob(machine)).toBe('completed');

  const onSchedule = (schedule: string) =>
    runWorkflow('celeriac.yml', 'schedule', host, {
      repository: repository.folder,
      uses: { [home]: celeriac },
      event: { schedule },
    });
  const owner = home.replace(/@.*/, '');
  const ownSteps = ({ steps }: WorkflowRun) =>
    steps.filter(({ name }) => name.startsWith(owner)).map(({ name }) => name.replace(/@.*/, ''));
  const sql = (statement: string) =>
    ask(machine, `sqlite3 /root/slideshow/backend/batch_processing.db "${statement}"`);
  await sql(
    "INSERT INTO jobs (id, status, created_at) VALUES ('stuck-one', 'processing', datetime('now', '-2 days'))",
  );
  const cleanup = await onSchedule('*/30 * * * *');
  expect(cleanup.code, cleanup.lines.join('\n')).toBe(0);
  expect(ownSteps(cleanup)).toEqual([`${owner}/actions/cleanup`]);
  expect(await sql("SELECT status FROM jobs WHERE id = 'stuck-one'")).toBe('failed');

  const soak = await onSchedule('23 * * * *');
  expect(soak.code, soak.lines.join('\n')).toBe(0);
  expect(ownSteps(soak)).toEqual([`${owner}/actions/verify`]);
  expect(soak.steps.at(-1)?.outputs.soak, soak.lines.join('\n')).toBe('unproven');
  expect((await onSchedule('0 0 * * *')).steps).toEqual([]);
  repository.remove();
});
