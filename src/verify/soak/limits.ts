import { usualLimits } from '../../config/soak-inputs.ts';
import type { SoakLimits, SoakRecord, SoakThresholds, SoakWish } from '../../model/soak.ts';
import { seconds } from '../../model/units.ts';
import { hoursOf } from './judge.ts';

/** What a soak is judged by, and what of a run's wishes does not count. */
export interface SettledLimits {
  readonly limits: SoakLimits;
  /** Remarks, one sentence each. */
  readonly notes: readonly string[];
}

/** The inputs, which people know, and whether a number of each is like no limit at all. */
const names: Readonly<Record<keyof SoakThresholds, { input: string; none: number | null }>> = {
  failureLimit: { input: 'failure-limit', none: null },
  consecutive: { input: 'consecutive', none: 0 },
  rateLimitMax: { input: 'rate-limit-max', none: null },
  errorRateMax: { input: 'max-errors', none: null },
};

/**
 * The longer and stricter of what the deploy of the release recorded and what this run asks for: so a
 * release is judged the same from a laptop and from the workflow, and no run makes it easier.
 */
export function settleLimits(wish: SoakWish, record: SoakRecord): SettledLimits {
  const notes: string[] = [];
  const promised = record.soakSeconds ?? seconds(0);
  if (wish.wanted < promised) {
    notes.push(
      `The deploy wanted a soak of ${hoursOf(promised)}, this run one of ${hoursOf(wish.wanted)}: the longer one applies.`,
    );
  }
  const stricter = (name: keyof SoakThresholds): number | null => {
    const { input, none } = names[name];
    const asked = wish[name];
    if (record.soakLimits === null) return asked ?? usualLimits[name];
    const { [name]: recorded = usualLimits[name] } = record.soakLimits;
    if (asked === null) return recorded;
    if (strictness(asked, none) <= strictness(recorded, none)) return asked;
    notes.push(
      name in record.soakLimits
        ? `The deploy recorded \`${input}\` ${recorded}, this run asks for ${asked}: the stricter one applies.`
        : `Of \`${input}\`, the default is ${recorded}, and this run asks for ${asked}: the stricter one applies.`,
    );
    return recorded;
  };
  const unread = Object.entries(names).filter(([name]) => !(name in (record.soakLimits ?? names)));
  if (unread.length > 0) {
    const which = unread.map(([, { input }]) => `\`${input}\``).join(', ');
    notes.push(
      `The host cannot read what the deploy recorded of ${which}, because the record was damaged or edited; the defaults apply instead, and no run can relax them: deploy again to record them.`,
    );
  }
  const limits = {
    wanted: wish.wanted < promised ? promised : wish.wanted,
    failureLimit: stricter('failureLimit') ?? usualLimits.failureLimit,
    consecutive: stricter('consecutive') ?? usualLimits.consecutive,
    rateLimitMax: stricter('rateLimitMax'),
    errorRateMax: stricter('errorRateMax'),
  };
  return { limits, notes };
}

/** What the host remembers less strictly from now on: `` `failure-limit` 5 instead of 0 ``. */
export function laxerLimits(
  before: Partial<SoakThresholds>,
  now: SoakThresholds,
): readonly string[] {
  const shown = (value: number | null) => value ?? 'none';
  return Object.entries(names).flatMap(([key, { input, none }]) => {
    const name = key as keyof SoakThresholds;
    const { [name]: old = usualLimits[name] } = before;
    const isLaxer = strictness(now[name], none) > strictness(old, none);
    return isLaxer ? [`\`${input}\` ${shown(now[name])} instead of ${shown(old)}`] : [];
  });
}

/** Smaller is stricter. */
const strictness = (value: number | null, none: number | null): number =>
  value === null || value === none ? Number.POSITIVE_INFINITY : value;
