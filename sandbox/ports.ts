import { digest } from './folders.ts';

const FIRST_PORT = 20_000;
const PORTS = 10_000;

/**
 * Loopback ports to try, in an order of the owner's own. All below the range that the kernel hands
 * out by itself, so that a port given up for the moment of a reset is not taken meanwhile.
 */
export function* portCandidates(owner: string, preferred?: number): Generator<number> {
  if (preferred !== undefined) yield preferred;
  const start = Number.parseInt(digest(owner).slice(0, 8), 16);
  for (let step = 0; step < 200; step++) yield FIRST_PORT + ((start + step) % PORTS);
}
