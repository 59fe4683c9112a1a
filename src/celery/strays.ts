import type { WorkerProcess } from '../model/facts.ts';
import type { EndProcess, Finding } from '../model/operation.ts';
import type { Seconds } from '../model/units.ts';
import { findCeleryCall } from './celery-call.ts';

/** The app that a unit runs, as far as a process shows it. */
export interface AppIdentity {
  readonly unit: string;
  /** The unit's cgroup; empty while it does not run. */
  readonly controlGroup: string;
  /** The value of `-A`. */
  readonly app: string;
  /** Where its processes are; see `workingDirectoryOf`. */
  readonly workingDirectory: string;
}

/** Workers that no unit looks after, judged against the app of one unit. */
export interface StrayWorkers {
  /** Of this very app: the main process of each tree, and children whose main is gone. */
  readonly strays: readonly WorkerProcess[];
  /** Everything else, with the reason why it is left alone. */
  readonly leftAlone: readonly { readonly process: WorkerProcess; readonly reason: string }[];
}

/**
 * Sorts the host's workers. The cgroup tells whether a worker belongs to some unit; its arguments
 * and its directory tell whether it runs this app.
 */
export function findStrays(workers: readonly WorkerProcess[], own: AppIdentity): StrayWorkers {
  const living = workers.filter(({ state }) => state !== 'Z' && state !== 'X');
  const strays: WorkerProcess[] = [];
  const leftAlone: { process: WorkerProcess; reason: string }[] = [];
  for (const process of living) {
    if (isInUnit(process.cgroup, own)) continue;
    const reason = whyLeftAlone(process, own);
    if (reason === null) strays.push(process);
    else leftAlone.push({ process, reason });
  }
  const pids = new Set(strays.map(({ pid }) => pid));
  return {
    strays: strays
      .filter(({ parentPid }) => !pids.has(parentPid))
      .sort((a, b) => a.startTicks - b.startTicks || a.pid - b.pid),
    leftAlone,
  };
}

/** One operation for each stray. */
export function endStrays(
  strays: readonly WorkerProcess[],
  graceSeconds: Seconds,
): readonly EndProcess[] {
  return strays.map((process) => ({
    op: 'end-process',
    pid: process.pid,
    startTicks: process.startTicks,
    cgroup: process.cgroup,
    graceSeconds,
    title: `end the stray worker ${process.pid}`,
    why: `it runs this app outside its unit (${process.cgroup}), with children of its own and the old settings`,
  }));
}

/** One finding for each reason, with the processes that it holds for. */
export function describeLeftAlone(found: StrayWorkers): readonly Finding[] {
  const byReason = new Map<string, number[]>();
  for (const { process, reason } of found.leftAlone) {
    byReason.set(reason, [...(byReason.get(reason) ?? []), process.pid]);
  }
  return [...byReason].map(([reason, pids]) => ({
    level: 'notice',
    message: `left alone: Celery ${pids.length === 1 ? 'process' : 'processes'} ${pids.join(', ')}: ${reason}`,
  }));
}

function isInUnit(cgroup: string, own: AppIdentity): boolean {
  if (own.controlGroup !== '') {
    return cgroup === own.controlGroup || cgroup.startsWith(`${own.controlGroup}/`);
  }
  return cgroup.split('/').includes(own.unit) && !cgroup.includes('/user@');
}

function whyLeftAlone(process: WorkerProcess, own: AppIdentity): string | null {
  if (process.cgroup === '') return 'its cgroup cannot be read, so its owner is unknown';
  const owner = ownerOf(process.cgroup);
  if (owner !== null) return `${owner} looks after it`;
  const found = findCeleryCall(process.argv);
  if (found.kind === 'refused') {
    return 'its command line does not tell which app it runs';
  }
  const { app } = found.call;
  if (app !== own.app) {
    return app === null ? 'it was started without -A' : `it runs another app (-A ${app})`;
  }
  // A deploy may have replaced the directory below a running worker.
  const directory = process.workingDirectory?.replace(/ \(deleted\)$/, '') ?? null;
  if (directory !== null && directory !== own.workingDirectory) {
    return `it runs ${app} in another directory (${directory})`;
  }
  return null;
}

/** Services that people's own commands run below: what they start belongs to nobody. */
const logins = /^(?:ssh|sshd|cron|crond|atd|rc-local)\.service$|^sshd?@.*\.service$/;
const containers =
  /(?:^|[/._-])(?:docker|libpod|podman|lxc|kubepods|containerd|crio|nspawn)\b|machine\.slice/;

/**
 * Who looks after the processes of a cgroup; `null` for login sessions and the like, whose
 * processes nobody restarts and nobody limits.
 */
export function ownerOf(cgroup: string): string | null {
  if (containers.test(cgroup)) return `a container (${cgroup})`;
  const parts = cgroup.split('/').filter((part) => part !== '');
  const manager = parts.findLastIndex((part) => /^user@\d+\.service$/.test(part));
  const service = parts
    .slice(manager + 1)
    .findLast((part) => part.endsWith('.service') && !logins.test(part));
  if (service === undefined) return null;
  return manager === -1 ? service : `${service} of ${parts[manager]}`;
}
