/** The host before a round: as before Celeriac, or with a release. */
export type Start = 'fresh' | 'released';

/** A fault in the middle of a deploy. */
export const FAULTS = [
  'runner-killed',
  'agent-killed',
  'work-killed',
  'session-killed',
  'link-cut',
  'disk-full',
  'redis-away',
  'worker-frozen',
  'second-deploy',
  'clean-up',
  'power',
] as const;
export type Fault = (typeof FAULTS)[number];

/** A moment of a deploy as fractions, independent of how long its parts take. */
export interface Place {
  /** Which part of it: 0 the first, almost 1 the last. */
  readonly part: number;
  /** How far into that part, from 0 to almost 1. */
  readonly within: number;
}

/** Everything that is random in a round. */
export interface Draw extends Place {
  readonly seed: number;
  readonly fault: Fault;
  readonly start: Start;
  /** Fraction of the fault's possible duration. */
  readonly lasts: number;
}

/** The round of a seed, always the same. Consecutive seeds go through all faults. */
export function drawRound(seed: number, only: readonly Fault[] = FAULTS): Draw {
  const random = generator(seed);
  return {
    seed,
    // As many consecutive seeds as there are faults cover all of them.
    fault: only[seed % only.length] as Fault,
    start: random() < 0.25 ? 'fresh' : 'released',
    part: random(),
    within: random(),
    lasts: random(),
  };
}

/** Mulberry32: numbers from 0 to almost 1. */
function generator(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
