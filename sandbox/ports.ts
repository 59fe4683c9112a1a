import { digest } from './folders.ts';

const FIRST_PORT = 20_000;
const PORTS = 10_000;

/**
 * Loopback ports to try, in an order that depends on the owner. All are below the kernel's ephemeral
 * range, so that a port that is free during a reset is not taken in the meantime.
 */
export function* portCandidates(owner: string, preferred?: number): Generator<number> {
  if (preferred !== undefined) yield preferred;
  const start = Number.parseInt(digest(owner).slice(0, 8), 16);
  for (let step = 0; step < 200; step++) yield FIRST_PORT + ((start + step) % PORTS);
}
