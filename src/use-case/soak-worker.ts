import { readSoakDesired } from '../config/soak-inputs.ts';
import { readVerifyDesired } from '../config/verify-desired.ts';
import type { Report } from '../model/report.ts';
import type { SoakReport } from '../model/soak.ts';
import type { Agent } from '../ports/agent.ts';
import type { Known } from '../verify/soak/besides.ts';
import { keepReport, reportSubject } from './keep-report.ts';
import { lookAtWorker } from './look-at-worker.ts';
import type { ActionRun } from './run.ts';
import { soakError, soakRelease } from './soak-release.ts';
import { oldestStuckJob } from './stuck-in-app.ts';
import { emptyMemory } from './verify-report.ts';

/**
 * What verify does with `mode: soak`.
 *
 * @throws GateError when the release failed
 */
export async function soakWorker(run: ActionRun<'verify'>): Promise<void> {
  await using agent = await run.openAgent();
  let oldestJob: Known | undefined;
  const report = await soakRelease(run, agent, readSoakDesired(run.inputs), async (since) => {
    oldestJob = await oldestStuckJob(agent, run.inputs, since);
    return oldestJob;
  });
  await keepReport(run, () => describeWorker(run, agent, report, oldestJob));
  if (report.state === 'failed') throw soakError(report);
}

/** The worker as it is now, with the verdict of the soak. */
async function describeWorker(
  run: ActionRun<'verify'>,
  agent: Agent,
  { state, sentence }: SoakReport,
  oldestJob: Known | undefined,
): Promise<Report> {
  const desired = readVerifyDesired(run.inputs);
  const report = await lookAtWorker(
    agent,
    run.onProgress(),
    desired,
    { ...reportSubject(run), ...(oldestJob !== undefined && { oldestJob }) },
    emptyMemory(),
  );
  const { conclusion, sentence: now } = report.verdict;
  const verdict =
    state === 'failed'
      ? ({ conclusion: 'unhealthy', sentence } as const)
      : { conclusion, sentence: `${now} ${sentence}` };
  return { ...report, verdict };
}
