import { messageOf, SandboxError } from './failure.ts';
import type { Say } from './image.ts';
import type { Kind } from './instance.ts';
import { asRoot, rootCommand } from './privilege.ts';

/**
 * What a test may need that a container shares with the machine it runs on:
 * `memory`: limits of memory hold; `swap`: swap can be switched on and off; `sysctl`: the kernel's
 * settings are its own; `clock`: the time can be set; `kernel-log`: the kernel's messages are its
 * own; `power`: a power cut loses what was not synced; `size`: the host is as small as a VPS.
 */
export type Need = 'memory' | 'swap' | 'sysctl' | 'clock' | 'kernel-log' | 'power' | 'size';

/** What containers give on this machine, or why it can run none. */
export type Capacity = { gives: ReadonlySet<Need> } | { why: string };

let capacity: Promise<Capacity> | undefined;

/** Found out by trying, once a process: namespaces, an overlay, a network, a cgroup. */
export function containerCapacity(): Promise<Capacity> {
  capacity ??= tryContainer();
  return capacity;
}

async function tryContainer(): Promise<Capacity> {
  if (process.arch !== 'x64') return { why: `this machine is ${process.arch}` };
  if (rootCommand() === undefined) return { why: "this user is neither root nor has 'sudo -n'" };
  try {
    const { stdout } = await asRoot('probe');
    return { gives: new Set(stdout.split('\n').filter((word) => word === 'memory') as Need[]) };
  } catch (error) {
    return { why: messageOf(error).split(': ').at(-1) ?? '' };
  }
}

/**
 * The kind of host that gives what is needed: a container where one does, as it is ten times as
 * fast as an emulated machine.
 *
 * @throws SandboxError when a container is asked for and can't be had, or can't give it.
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
  throw new SandboxError(`a container can't give what is needed: ${lacking.join(', ')}`);
}

let said = false;

/** The kind for a new machine; says once why it is not the fast one. */
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
