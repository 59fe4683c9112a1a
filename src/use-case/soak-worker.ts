import { readSoakDesired } from '../config/soak-inputs.ts';
import type { ActionRun } from './run.ts';
import { soakError, soakRelease } from './soak-release.ts';

/**
 * What verify does with `mode: soak`.
 *
 * @throws GateError when the release failed
 */
export async function soakWorker(run: ActionRun<'verify'>): Promise<void> {
  await using agent = await run.openAgent();
  const report = await soakRelease(run, agent, readSoakDesired(run.inputs));
  if (report.state === 'failed') throw soakError(report);
}
