import type { FactsFor } from '../model/facts.ts';
import type { Seconds } from '../model/units.ts';
import type { Agent } from '../ports/agent.ts';
import {
  describeInterrupted,
  describeUnseen,
  type HostAfter,
  type InterruptedRun,
  type InterruptedView,
} from '../report/interrupted.ts';
import { formatDuration } from '../report/quantities.ts';

/** How to look at the host once more, and how long that may take. */
export interface LookTools {
  open(): Promise<Agent>;
  sleep(duration: Seconds): Promise<void>;
  readonly limit: Seconds;
}

/**
 * Says in which state a run that was cut off has left the host. It looks once and changes nothing.
 * Never throws: what keeps it from looking is part of what it says.
 */
export async function lookAtInterrupted(
  run: InterruptedRun,
  { open, sleep, limit }: LookTools,
): Promise<InterruptedView> {
  const late = sleep(limit).then(() =>
    describeUnseen(run, `no answer within ${formatDuration(limit)}`),
  );
  const looked = lookOnce(open, run.unit).then(
    (host) => describeInterrupted(run, host),
    (error: unknown) => describeUnseen(run, error instanceof Error ? error.message : String(error)),
  );
  return Promise.race([looked, late]);
}

async function lookOnce(open: () => Promise<Agent>, unit: string | null): Promise<HostAfter> {
  await using agent = await open();
  if (unit === null) {
    return { ...(await agent.look({ past: {}, transactions: {} })), releases: null, worker: null };
  }
  const query = { past: {}, transactions: {}, releases: { unit }, unit: { name: unit } } as const;
  const { unit: worker, ...known }: FactsFor<typeof query> = await agent.look(query);
  return { ...known, worker: `${worker.activeState} (${worker.subState})` };
}
