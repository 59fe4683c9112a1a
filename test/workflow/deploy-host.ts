import type { Machine } from '../../sandbox/machine.ts';
import { runWorkflow, type WorkflowOptions, type WorkflowRun } from '../lib/act.ts';

export const unitPath = '/etc/systemd/system/celery-worker.service';
export const variables = {
  CELERIAC_HTTP_PROBES: 'http://127.0.0.1/api/health',
  CELERIAC_CONCURRENCY: '1',
  CELERIAC_MEMORY_MAX: '800M',
  CELERIAC_MEMORY_HIGH: '600M',
};

/** deploy.yml for a merge. */
export const push = (machine: Machine, options: WorkflowOptions = {}): Promise<WorkflowRun> =>
  runWorkflow('deploy.yml', 'push', machine, { variables, ...options });

/** deploy.yml by hand, as a dry run. */
export const rehearse = (machine: Machine): Promise<WorkflowRun> =>
  runWorkflow('deploy.yml', 'workflow_dispatch', machine, {
    variables,
    inputs: { 'dry-run': 'true' },
  });

export const resultsOf = (run: WorkflowRun): Record<string, string> =>
  Object.fromEntries(run.steps.map(({ name, result }) => [name.replace(/@.*/, ''), result]));

export const outputsOf = (run: WorkflowRun, step: string): Readonly<Record<string, string>> =>
  run.steps.find(({ name }) => name === step)?.outputs ?? {};

/** The output of a shell command, without the last line break. */
export const ask = async (machine: Machine, command: string): Promise<string> =>
  (await machine.run(command)).stdout.trimEnd();

/** A job of the app, from the HTTP request to the finished row. */
export async function serveJob(machine: Machine): Promise<string> {
  const start = `curl -sf -d links=https://example.com/1 -d photos=1 http://127.0.0.1/api/batch`;
  const { batch_id: batch } = JSON.parse(await ask(machine, start)) as { batch_id: string };
  const status = `curl -sf http://127.0.0.1/api/batch/${batch}/status`;
  return await ask(
    machine,
    `for _ in $(seq 600); do s=$(${status} | python3 -c 'import json, sys; print(json.load(sys.stdin)["status"])'); [ "$s" = completed ] && break; sleep 0.5; done; echo "$s"`,
  );
}
