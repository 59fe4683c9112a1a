/** What a round's host is before it: as it was before Celeriac, or with a release of it. */
export type Start = 'fresh' | 'released';

/** What happens in the middle of a deploy. */
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

/** A moment of a deploy, by fractions: how long its parts take is another matter. */
export interface Place {
  /** Which part of it: 0 the first, almost 1 the last. */
  readonly part: number;
  /** How far into that part. */
  readonly within: number;
}

/** All that is left to chance in a round. */
export interface Draw extends Place {
  readonly seed: number;
  readonly fault: Fault;
  readonly start: Start;
  /** Of its possible duration, where the fault lasts. */
  readonly lasts: number;
}

/** The round of a seed: always the same. Of each turn of seeds, every fault comes once. */
export function drawRound(seed: number, only: readonly Fault[] = FAULTS): Draw {
  const random = generator(seed);
  return {
    seed,
    // Neighbours differ: as many rounds as there are faults have them all.
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
