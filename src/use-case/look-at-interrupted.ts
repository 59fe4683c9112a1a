import type { FactsFor } from '../model/facts.ts';
import { formatDuration } from '../model/quantities.ts';
import type { Seconds } from '../model/units.ts';
import type { Agent } from '../ports/agent.ts';
import {
  describeInterrupted,
  describeUnseen,
  type HostAfter,
  type InterruptedRun,
  type InterruptedView,
} from '../report/interrupted.ts';

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

/** Of the host, for its clock. */
const always = { past: {}, transactions: {}, host: {} } as const;

async function lookOnce(open: () => Promise<Agent>, unit: string | null): Promise<HostAfter> {
  await using agent = await open();
  if (unit === null) {
    const { past, transactions } = await agent.look(always);
    return { past, transactions, releases: null, worker: null, clockSkew: agent.clockSkew };
  }
  const query = { ...always, releases: { unit }, unit: { name: unit } } as const;
  const {
    past,
    transactions,
    releases,
    unit: about,
  }: FactsFor<typeof query> = await agent.look(query);
  const isThere = about.loadState !== 'not-found';
  const worker = isThere ? `${about.activeState} (${about.subState})` : `no such unit: ${unit}`;
  return { past, transactions, releases, worker, clockSkew: agent.clockSkew };
}
