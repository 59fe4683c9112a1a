import { setTimeout as wait } from 'node:timers/promises';
import { type Seconds, seconds } from '../model/units.ts';

/** Time, so that tests need not wait for it. */
export interface Clock {
  /** Monotonic seconds since some moment. */
  now(): Seconds;
  /** Seconds since 1970, as this machine's clock says. */
  epoch(): Seconds;
  sleep(duration: Seconds): Promise<void>;
}

export const systemClock: Clock = {
  now: () => seconds(performance.now() / 1000),
  epoch: () => seconds(Date.now() / 1000),
  sleep: async (duration) => {
    await wait(duration * 1000);
  },
};
