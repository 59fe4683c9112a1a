import type { HostEnd, LegRecord, PlannedRollout, RolloutEnd } from '../model/fleet.ts';
import { concludeRollout, stopReason } from '../plan/fleet/conclude-rollout.ts';

/** A deploy that has ended, and the transaction of its release; empty: none. */
export interface DeployEnd extends HostEnd {
  readonly transaction: string;
}

/** What a rollout does with a host. Neither rejects: what went wrong is in the end. */
export interface RolloutWork {
  readonly deploy: (host: string) => Promise<DeployEnd>;
  readonly rollBack: (host: string, transaction: string) => Promise<HostEnd>;
}

export interface RolloutOptions {
  readonly plan: PlannedRollout;
  /** How many hosts are worked on at the same time. */
  readonly maxParallel: number;
  /** Nothing further is begun; what runs is left to `work`. */
  readonly cancelled: AbortSignal;
}

/**
 * Deploys hosts from one process by the rules of pipeline.yml: canaries, then the others, until too many
 * have failed; then rolls back what the policy says, going on past a host that cannot be rolled back.
 */
export async function rollOut(
  { plan, maxParallel, cancelled }: RolloutOptions,
  work: RolloutWork,
): Promise<RolloutEnd> {
  const records: LegRecord[] = [];
  const keep = (host: string, kind: LegRecord['kind'], end: HostEnd, transaction = ''): void =>
    void records.push({ host, kind, attempt: 1, transaction, ...end });

  const deploy = async (host: string) => {
    const why = cancelled.aborted ? 'not started: interrupted' : stopReason(plan, host, records);
    if (why !== null) {
      keep(host, 'stopped', { state: 'untouched', failed: false, why });
      return;
    }
    const { transaction, ...end } = await work.deploy(host);
    keep(host, 'ended', end, transaction);
  };

  await eachOf(plan.hosts.slice(0, plan.canaries), maxParallel, deploy);
  await eachOf(plan.hosts.slice(plan.canaries), maxParallel, deploy);
  if (!cancelled.aborted) {
    const { back } = concludeRollout(plan, records);
    await eachOf(back, maxParallel, async ({ host, transaction }) => {
      if (cancelled.aborted) return;
      keep(host, 'back', await work.rollBack(host, transaction));
    });
  }
  return concludeRollout(plan, records);
}

/** Works on the items in their order, so many at the same time. */
async function eachOf<Item>(
  items: readonly Item[],
  most: number,
  work: (item: Item) => Promise<void>,
): Promise<void> {
  const waiting = items.values();
  const workers = Array.from({ length: Math.min(most, items.length) }, async () => {
    for (const item of waiting) await work(item);
  });
  await Promise.all(workers);
}
