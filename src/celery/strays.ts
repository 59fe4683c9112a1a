import type { WorkerProcess } from '../model/facts/beside.ts';
import type { UnitFact } from '../model/facts/unit.ts';
import type { ByTheApp } from '../model/operation/app.ts';
import type { EndProcess } from '../model/operation/worker.ts';
import type { Finding } from '../model/operation.ts';
import type { Seconds } from '../model/units.ts';
import { appUserOf } from './app-user.ts';
import { findCeleryCall } from './celery-call.ts';

/** The app that a unit runs, as far as its processes show it. */
export interface AppIdentity {
  readonly unit: string;
  /** The user of its processes. */
  readonly user: string;
  /** The unit's cgroup; empty while it does not run. */
  readonly controlGroup: string;
  /** The value of `-A`. */
  readonly app: string;
  /** Directory of its processes; see `workingDirectoryOf`. */
  readonly workingDirectory: string;
}

/** The app that a unit runs, to tell its workers from others. */
export const identityOf = (unit: UnitFact, app: string, workingDirectory: string): AppIdentity => ({
  unit: unit.name,
  user: appUserOf(unit),
  controlGroup: unit.properties.ControlGroup ?? '',
  app,
  workingDirectory,
});

/** So many are ended at once; the next deploy ends the others. */
const MOST_STRAYS = 50;
/** So many are named in a message, and so many reasons are given. */
const MOST_NAMED = 10;

/** Workers outside the unit of an app. */
export interface StrayWorkers {
  /**
   * Workers of this app, by its user: the main process of each tree, and children whose main process
   * is gone.
   */
  readonly strays: readonly WorkerProcess[];
  /** All other Celery processes, with the reason why they are skipped. */
  readonly skipped: readonly { readonly process: WorkerProcess; readonly reason: string }[];
}

/**
 * Sorts the workers on the host. The cgroup shows whether a worker belongs to a unit; its arguments
 * and its directory show whether it runs this app.
 */
export function findStrays(workers: readonly WorkerProcess[], own: AppIdentity): StrayWorkers {
  const living = workers.filter(({ state }) => state !== 'Z' && state !== 'X');
  const strays: WorkerProcess[] = [];
  const skipped: { process: WorkerProcess; reason: string }[] = [];
  for (const process of living) {
    if (isInUnit(process.cgroup, own)) continue;
    const reason = whySkipped(process, own);
    if (reason === null) strays.push(process);
    else skipped.push({ process, reason });
  }
  const pids = new Set(strays.map(({ pid }) => pid));
  return {
    strays: strays
      .filter(({ parentPid }) => !pids.has(parentPid))
      .sort((a, b) => a.startTicks - b.startTicks || a.pid - b.pid),
    skipped,
  };
}

/** One operation for all stray workers: they end at the same time, within one limit. */
export function endStrays(
  own: ByTheApp & { readonly user: string },
  strays: readonly WorkerProcess[],
  graceSeconds: Seconds,
): readonly EndProcess[] {
  const ended = strays.slice(0, MOST_STRAYS);
  if (ended.length === 0) return [];
  const cgroups = [...new Set(ended.map(({ cgroup }) => cgroup))];
  const [they, have] = ended.length === 1 ? ['it runs', 'its'] : ['they run', 'their'];
  return [
    {
      op: 'end-process',
      ...own,
      processes: ended.map(({ pid, startTicks, cgroup }) => ({ pid, startTicks, cgroup })),
      graceSeconds,
      title:
        ended.length === 1
          ? `end the stray worker ${listPids(ended)}`
          : `end ${ended.length} stray workers: ${listPids(ended)}`,
      why: `${they} this app outside the unit (${listFew(cgroups)}), with ${have} own children and old settings`,
    },
  ];
}

/** One finding per reason, with its processes. */
export function describeSkipped(found: StrayWorkers): readonly Finding[] {
  const byReason = new Map<string, WorkerProcess[]>();
  for (const { process, reason } of found.skipped) {
    byReason.set(reason, [...(byReason.get(reason) ?? []), process]);
  }
  const reasons = [...byReason];
  const rest = reasons.slice(MOST_NAMED).flatMap(([, processes]) => processes);
  const more = found.strays.slice(MOST_STRAYS);
  return [
    ...reasons.slice(0, MOST_NAMED).map(([reason, processes]) => skippedFor(processes, reason)),
    ...(rest.length === 0 ? [] : [skippedFor(rest, 'for other reasons of this kind')]),
    ...(more.length === 0
      ? []
      : [
          skippedFor(
            more,
            `one deploy ends at most ${MOST_STRAYS} stray workers; the next deploy ends these`,
          ),
        ]),
  ];
}

const skippedFor = (processes: readonly WorkerProcess[], reason: string): Finding => ({
  level: 'notice',
  message: `skipped Celery ${processes.length === 1 ? 'process' : 'processes'} ${listPids(processes)}: ${reason}`,
});

const listPids = (processes: readonly WorkerProcess[]): string =>
  listFew(processes.map(({ pid }) => String(pid)));

function listFew(words: readonly string[]): string {
  const more = words.length - MOST_NAMED;
  return words.slice(0, MOST_NAMED).join(', ') + (more > 0 ? ` and ${more} more` : '');
}

function isInUnit(cgroup: string, own: AppIdentity): boolean {
  if (own.controlGroup !== '') {
    return cgroup === own.controlGroup || cgroup.startsWith(`${own.controlGroup}/`);
  }
  return cgroup.split('/').includes(own.unit) && !cgroup.includes('/user@');
}

function whySkipped(process: WorkerProcess, own: AppIdentity): string | null {
  // First: what others start says nothing about this app, and must neither end nor delay anything.
  if (process.user !== own.user) {
    return `it runs as ${process.user}, and ${own.unit} runs as ${own.user}`;
  }
  if (process.cgroup === '') return 'its cgroup cannot be read, so its owner is unknown';
  const owner = ownerOf(process.cgroup);
  if (owner !== null) return `managed by ${owner}`;
  const found = findCeleryCall(process.argv);
  if (found.kind === 'refused') {
    return 'its command line does not show which app it runs';
  }
  const { app } = found.call;
  if (app !== own.app) {
    return app === null ? 'it was started without -A' : `it runs another app (-A ${app})`;
  }
  // A deploy may have replaced the directory of a running worker.
  const directory = process.workingDirectory?.replace(/ \(deleted\)$/, '') ?? null;
  if (directory !== null && directory !== own.workingDirectory) {
    return `it runs ${app} in another directory (${directory})`;
  }
  return null;
}

/** Services that run commands of people: what these start is not managed by a unit. */
const logins = /^(?:ssh|sshd|cron|crond|atd|rc-local)\.service$|^sshd?@.*\.service$/;
const containers =
  /(?:^|[/._-])(?:docker|libpod|podman|lxc|kubepods|containerd|crio|nspawn)\b|machine\.slice/;

/**
 * The manager of the processes of a cgroup; `null` for login sessions and the like, whose processes
 * are neither restarted nor limited.
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
