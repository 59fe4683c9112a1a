import { messageOf, SandboxError } from './failure.ts';
import type { Say } from './image.ts';
import type { Kind } from './instance.ts';
import { asRoot, rootCommand } from './privilege.ts';

/**
 * What a test may need and a container shares with its machine: `memory`: memory limits are enforced;
 * `swap`: swap can be turned on and off; `sysctl`: its own kernel settings; `clock`: the time can be
 * set; `kernel-log`: its own kernel log; `power`: a power cut loses what was not synced; `size`: the
 * host is as small as a VPS.
 */
export type Need = 'memory' | 'swap' | 'sysctl' | 'clock' | 'kernel-log' | 'power' | 'size';

/** What containers provide on this machine, or why it cannot run any. */
export type Capacity = { gives: ReadonlySet<Need> } | { why: string };

let capacity: Promise<Capacity> | undefined;

/** Tries it once per process: namespaces, an overlay, a network, a cgroup. */
export function containerCapacity(): Promise<Capacity> {
  capacity ??= tryContainer();
  return capacity;
}

async function tryContainer(): Promise<Capacity> {
  if (process.arch !== 'x64') return { why: `this machine is ${process.arch}` };
  if (rootCommand() === undefined)
    return { why: "this user is neither root nor can use 'sudo -n'" };
  try {
    const { stdout } = await asRoot('probe');
    return { gives: new Set(stdout.split('\n').filter((word) => word === 'memory') as Need[]) };
  } catch (error) {
    return { why: messageOf(error).split(': ').at(-1) ?? '' };
  }
}

/**
 * The kind of host that provides what is needed: a container if possible, because it is ten times as
 * fast as an emulated machine.
 *
 * @throws SandboxError when a container is requested but is not available or not sufficient.
 */
export function chooseKind(
  capacity: Capacity,
  needs: readonly Need[],
  wanted: Kind | undefined,
): { kind: Kind; why?: string } {
  if (wanted === 'vm') return { kind: 'vm' };
  if ('why' in capacity) {
    if (wanted === undefined) return { kind: 'vm', why: `no containers here: ${capacity.why}` };
    throw new SandboxError(`no containers here: ${capacity.why}`);
  }
  const lacking = needs.filter((need) => !capacity.gives.has(need));
  if (lacking.length === 0) return { kind: 'container' };
  if (wanted === undefined) return { kind: 'vm' };
  throw new SandboxError(`a container cannot provide: ${lacking.join(', ')}`);
}

let said = false;

/** The kind for a new machine; reports once why it is not the fast one. */
export async function kindFor(
  needs: readonly Need[],
  wanted: Kind | undefined,
  say: Say,
): Promise<Kind> {
  const { kind, why } = chooseKind(await containerCapacity(), needs, wanted);
  if (why !== undefined && !said) {
    said = true;
    say(`${why}; using QEMU`);
  }
  return kind;
}
