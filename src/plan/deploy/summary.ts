import type { StrayWorkers } from '../../celery/strays.ts';
import type { DeployWorkerDesired } from '../../config/deploy-worker-desired.ts';
import type { Finding, Operation } from '../../model/operation.ts';
import { formatBytes, formatCount, formatDuration } from '../../model/quantities.ts';
import { bytes } from '../../model/units.ts';
import type { InstalledUnit } from '../unit/unit-source.ts';
import { countChildren, type WorkerUnit } from '../unit/worker-unit.ts';
import type { Install } from './install-unit.ts';
import type { DeployWorkerFacts } from './look.ts';
import { supportPath } from './support-module.ts';

interface Planned {
  readonly facts: DeployWorkerFacts;
  readonly desired: DeployWorkerDesired;
  readonly unit: WorkerUnit;
  readonly install: Install | null;
  readonly support: Operation | null;
  readonly enable: Operation | null;
  readonly restart: boolean;
  readonly strays: StrayWorkers;
}

/** What is already as desired, one line each. */
export function describeSatisfied(planned: Planned): readonly string[] {
  const { facts, desired, unit, install, support, enable, restart, strays } = planned;
  const lines: string[] = [];
  const { fragmentPath, unitFileState, exposure } = facts.unit;
  if (!install) {
    const by = unit.dropIn === null ? '' : ` with ${unit.dropIn.path}`;
    lines.push(`unit: ${fragmentPath}${by} is up to date${describeLimits(unit)}`);
    if (desired.hardening !== 'off') {
      const told = exposure == null ? '' : `, exposure ${exposure} (systemd-analyze security)`;
      lines.push(`hardening: ${desired.hardening}${told}`);
    }
  }
  if (!support) lines.push(`support module: ${supportPath(desired)}`);
  if (!enable && unitFileState === 'enabled') lines.push('at boot: enabled');
  if (!restart) {
    const children = countChildren(unit.line, facts.host.cpus);
    const below =
      children === null ? '' : `, ${formatCount(children, 'child process', 'child processes')}`;
    lines.push(`worker: active, runs the newest code (main ${facts.unit.mainPid ?? '?'}${below})`);
    if (facts.consuming?.kind === 'consumes') lines.push('consuming: no message is left waiting');
    if (facts.consuming?.kind === 'reported') {
      const ago = formatDuration(facts.consuming.ago);
      lines.push(`consuming: no message waited ${ago} ago, as it reports`);
    }
    if (facts.consuming?.kind === 'unknown') {
      lines.push(`consuming: unknown (${facts.consuming.problem})`);
    }
  }
  if (strays.strays.length === 0) lines.push('strays: none');
  return lines;
}

function describeLimits({ properties }: WorkerUnit): string {
  const shown = ['MemoryMax', 'MemoryHigh'].flatMap((name) => {
    const value = properties[name];
    return value === undefined || value === 'infinity'
      ? []
      : [`${name} ${formatBytes(bytes(Number(value)))}`];
  });
  const watchdog = properties.WatchdogUSec;
  if (watchdog !== undefined) shown.push(`watchdog ${watchdog}`);
  return shown.length === 0 ? '' : `: ${shown.join(', ')}`;
}

/** A limit above the memory of the host. Whether the children fit below it is a unit rule. */
export function describeMemory(
  facts: DeployWorkerFacts,
  desired: DeployWorkerDesired,
): readonly Finding[] {
  const { memoryMaxBytes } = desired;
  const { totalBytes } = facts.host.memory;
  if (typeof memoryMaxBytes !== 'number' || memoryMaxBytes <= totalBytes) return [];
  return [
    {
      level: 'warning',
      message: `memory-max ${formatBytes(memoryMaxBytes)} is more than the host has (${formatBytes(totalBytes)}), so it has no effect`,
    },
  ];
}

export function describeHost(
  facts: DeployWorkerFacts,
  desired: DeployWorkerDesired,
  unit: WorkerUnit,
): readonly Finding[] {
  const findings: Finding[] = [];
  const warn = (message: string): void => {
    findings.push({ level: 'warning', message, lasting: true });
  };
  const { container, cgroupVersion } = facts.host;
  if (!facts.limits.controller) {
    warn(
      'the kernel has no memory controller here, so it does not enforce MemoryMax= and MemoryHigh=',
    );
  } else if (cgroupVersion === 1) {
    warn('this host uses cgroup v1: MemoryMax= does not count swap, and MemoryHigh= has no effect');
  }
  if (container !== null) {
    warn(
      `this host is a container (${container}): memory limits are enforced only if its own host delegates the memory controller`,
    );
  }
  if (!unit.installable) {
    warn(`${desired.unit} has no [Install] section: nothing starts it at boot`);
  }
  if (facts.code.truncated) {
    warn(
      'WorkingDirectory= contains too many files to check them all, so newer code may be missed; `restart: always` is safe',
    );
  }
  return findings;
}
export function describeMode(
  source: InstalledUnit,
  desired: DeployWorkerDesired,
): readonly Finding[] {
  if (source.mode === desired.unitMode) return [];
  return [
    {
      level: 'notice',
      lasting: true,
      message: `${desired.unit} is an instance of ${source.path}, which other instances share, so it is changed by its own drop-in`,
    },
  ];
}
