/**
 * Inputs that are requirements to verify, and wishes to the other actions: of a host that cannot fulfil
 * one (swap in a container, MemoryHigh without swap) they warn, and that is no reason to roll back. So the
 * gate of a deploy does not take them; verify compares the worker with what its release has proved.
 */
export const wishesOfDeploy: ReadonlySet<string> = new Set([
  'swap-size',
  'concurrency',
  'memory-max',
  'memory-high',
]);
