import type { Sample } from '../../model/sample.ts';
import type { EpochSeconds } from '../../model/units.ts';

/** What a soak is judged by. */
export interface SoakEvidence {
  /** The number of the release. */
  readonly release: number;
  /** Since when the release is unproven, by the host's clock. */
  readonly since: EpochSeconds;
  /** In the order in which the host wrote them. Lines that could not be read are left out. */
  readonly samples: readonly Sample[];
  /** Starts of the unit's transactions. */
  readonly transactions: readonly EpochSeconds[];
  /** The host's clock. Decides nothing: it shows a gap that has not ended yet. */
  readonly now: EpochSeconds;
}

/** A clock that is corrected by less within a minute was not set, in seconds. */
const mostDrift = 30;

/** From the first sample of the soak on, in the host's order: its clock may have been set back. */
export function samplesSince(evidence: SoakEvidence): readonly Sample[] {
  const own = ownSamples(evidence);
  const first = own.findIndex(({ at }) => at >= evidence.since);
  return first < 0 ? [] : own.slice(first);
}

/** The last sample of this release before the soak: what the first one is compared with. */
export function sampleBefore(evidence: SoakEvidence): Sample | null {
  const own = ownSamples(evidence);
  return own[own.findIndex(({ at }) => at >= evidence.since) - 1] ?? null;
}

/** Those after the last one of another release. Earlier versions did not write which one it is of. */
const ownSamples = ({ release, samples }: SoakEvidence): readonly Sample[] =>
  samples.slice(
    samples.findLastIndex((each) => each.release !== null && each.release !== release) + 1,
  );

/** How far the clock of the host was set between two samples, in seconds; 0 for less than it drifts. */
export function clockJump(before: Sample, sample: Sample): number {
  const isSameBoot = before.boot === sample.boot;
  const jump = sample.at - before.at - (isSameBoot ? sample.uptime - before.uptime : 0);
  const isJump = isSameBoot ? Math.abs(jump) > mostDrift : jump < 0;
  return isJump ? jump : 0;
}
