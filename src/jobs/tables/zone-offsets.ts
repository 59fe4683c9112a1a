/** What times differ by that are read in another zone than they were written in, in seconds. */

/** Zones whose clocks are behind that of UTC are so by an hour at least. */
export const leastBehind = 3600;

/** No two clocks are further apart. */
export const greatestOffset = 26 * 3600;
