import { onTestFinished } from 'vitest';
import type { Machine } from '../../../sandbox/machine.ts';
import { BACKEND, type Job, makeJob, readJob, sendJobs, shell, waitUntil } from './worker.ts';

const HELD = '/var/tmp/held';

/** Has a row like any other job of the app, and runs for as long as the file with its id exists. */
const MODULE = `
import os, time
import store
from celery_app import celery_app

@celery_app.task(bind=True, name='held.process_job')
def process_job(self):
    job = self.request.id
    store.add_job(job)
    store.start('jobs', job, job)
    while os.path.exists('${HELD}/' + job):
        time.sleep(0.05)
    store.finish('jobs', job, 'completed')
`;

/** Jobs that run until the test lets them go, so that it needs no guess how fast the host is. */
export interface HeldJobs {
  readonly jobs: readonly Job[];
  /** All of them, or those with these ids. */
  letGo(ids?: readonly string[]): Promise<void>;
}

/** Files of the app, by path in its folder, that bring their task. */
export const heldJobsFiles = (celeryConfig: string): Readonly<Record<string, string>> => ({
  'held.py': MODULE,
  'celery_config.py': `${celeryConfig.trimEnd()}\nimports = ('held',)\n`,
});

/** Adds their task to the app of a machine; workers that are started from now on know it. */
export async function installHeldJobs(machine: Machine): Promise<void> {
  const config = await machine.readFile(`${BACKEND}/celery_config.py`);
  for (const [path, text] of Object.entries(heldJobsFiles(config))) {
    await machine.writeFile(`${BACKEND}/${path}`, text);
  }
}

/** One such job that the worker has begun. */
export async function beginHeldJob(machine: Machine): Promise<HeldJobs & { readonly id: string }> {
  const held = await holdJobs(machine);
  const id = held.jobs[0]?.id ?? '';
  await sendJobs(machine, held.jobs);
  await waitUntil('the job is begun', async () => (await readJob(machine, id)) !== undefined);
  return { ...held, id };
}

/** Makes jobs, to be sent by `sendJobs`, that run until they are let go or the test is over. */
export async function holdJobs(machine: Machine, count = 1): Promise<HeldJobs> {
  const jobs = Array.from({ length: count }, () => asHeld(makeJob(0)));
  const all = jobs.map(({ id }) => id);
  const files = (ids: readonly string[]) => ids.map((id) => `${HELD}/${id}`).join(' ');
  await shell(machine, `mkdir -p ${HELD} && touch ${files(all)}`);
  const letGo = async (ids: readonly string[] = all): Promise<void> => {
    await shell(machine, `rm -f ${files(ids)}`);
  };
  onTestFinished(() => letGo());
  return { jobs, letGo };
}

function asHeld({ id, message }: Job): Job {
  const parsed = JSON.parse(message);
  const [, , after] = JSON.parse(Buffer.from(parsed.body, 'base64').toString());
  parsed.headers.task = 'held.process_job';
  parsed.body = Buffer.from(JSON.stringify([[], {}, after])).toString('base64');
  return { id, message: JSON.stringify(parsed) };
}
