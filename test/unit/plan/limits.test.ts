import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { MemoryWish } from '../../../src/config/deploy-worker-desired.ts';
import { parseSize } from '../../../src/config/quantities.ts';
import type { ProcessFact } from '../../../src/model/facts/unit.ts';
import { type Bytes, bytes, MiB } from '../../../src/model/units.ts';
import type { DeployWorkerFacts } from '../../../src/plan/deploy/look.ts';
import { chooseLimits } from '../../../src/plan/limits/choose-limits.ts';
import { slicesAbove } from '../../../src/plan/limits/reservations.ts';
import { compareTogether } from '../../../src/plan/limits/together.ts';
import { ownDropIns } from '../../../src/plan/unit/drop-in-paths.ts';
import { workerDesired } from '../../lib/worker-desired.ts';

/** Sizes in MiB. */
interface Case {
  readonly about: string;
  readonly host: {
    readonly total: number;
    readonly available: number;
    readonly swap: number;
    readonly cpus?: number;
    readonly container?: string;
  };
  /** `null`: not running. A child with a program that its task started: `[child, program]`. */
  readonly worker: {
    readonly main: number;
    readonly children: readonly (number | readonly number[])[];
    readonly own: number;
    readonly shell?: number;
  } | null;
  readonly unit: readonly string[];
  readonly dropIns?: Readonly<Record<string, readonly string[]>>;
  readonly ownDropIn?: readonly string[];
  readonly properties?: Readonly<Record<string, string>>;
  readonly limits?: {
    readonly ownMeminfo?: boolean;
    readonly system?: { readonly limit: number; readonly used: number };
    readonly slices?: readonly { readonly name: string; readonly max: number }[];
    readonly services?: readonly {
      readonly name: string;
      readonly state: string;
      readonly slice: string;
      readonly max: number;
      readonly current: number | null;
    }[];
  };
  /** Cgroups of other Celery workers. */
  readonly neighbours?: readonly string[];
  readonly desired?: { concurrency?: number; max?: string | null; high?: string | null };
  readonly expected: { readonly max: string | null; readonly high: string | null };
  readonly findings: readonly string[];
  readonly level?: string;
}

const folder = join(import.meta.dirname, 'fixtures');
const readJson = (path: string) => JSON.parse(readFileSync(join(folder, path), 'utf8'));
const base: DeployWorkerFacts = readJson('deploy-worker/hosts/before.json');
const cases = readdirSync(join(folder, 'limits')).map(
  (name) => [name.slice(0, -5), readJson(`limits/${name}`) as Case] as const,
);

const PATH = '/etc/systemd/system/celery-worker.service';
const ownPaths = ownDropIns('celery-worker.service');
const mib = (count: number): Bytes => bytes(count * MiB);
const section = (lines: readonly string[]): string => `[Service]\n${lines.join('\n')}\n`;
const sizeOf = (text: string | null): MemoryWish =>
  text === null || text === 'keep' ? text : parseSize(text);

function processesOf(worker: NonNullable<Case['worker']>): ProcessFact[] {
  const processes: ProcessFact[] = [];
  const start = (parentPid: number, size: number, ...argv: string[]): number => {
    const pid = 100 + processes.length;
    const residentBytes = mib(size);
    processes.push({ pid, parentPid, state: 'S', user: 'app', residentBytes, argv, startTicks: 1 });
    return pid;
  };
  const shell = worker.shell === undefined ? 1 : start(1, worker.shell, '/bin/sh', '-c', '…');
  const main = start(shell, worker.main, 'python3', '/usr/bin/celery');
  for (const child of worker.children) {
    [child].flat().reduce((parent, size) => start(parent, size, 'python3'), main);
  }
  return processes;
}

function factsOf({ host, worker, properties, limits, neighbours = [] }: Case): DeployWorkerFacts {
  const processes = worker === null ? [] : processesOf(worker);
  const { slices = [], services = [], system } = limits ?? {};
  return {
    ...base,
    host: {
      ...base.host,
      cpus: host.cpus ?? 1,
      container: host.container ?? null,
      memory: {
        totalBytes: mib(host.total),
        availableBytes: mib(host.available),
        swapTotalBytes: mib(host.swap),
        swapFreeBytes: mib(host.swap),
      },
    },
    swap: { ...base.swap, active: [] },
    unit: {
      ...base.unit,
      processes,
      mainPid: processes[0]?.pid ?? null,
      properties: { ...base.unit.properties, ...properties },
    },
    workers: neighbours.map((cgroup, at) => ({
      ...(processesOf({ main: 50, children: [], own: 50 })[0] as ProcessFact),
      pid: 900 + at,
      cgroup,
      workingDirectory: '/srv/other',
      startedAt: base.host.now,
    })),
    limits: {
      controller: true,
      ownMeminfo: limits?.ownMeminfo ?? false,
      system: system ? { limitBytes: mib(system.limit), usedBytes: mib(system.used) } : null,
      unitBytes: worker === null ? null : mib(worker.own),
      slices: slices.map(({ name, max }) => ({ name, memoryMaxBytes: mib(max) })),
      services: services.map(({ name, state, slice, max, current }) => ({
        name,
        activeState: state,
        slice,
        memoryMaxBytes: mib(max),
        currentBytes: current === null ? null : mib(current),
      })),
    },
  };
}

const sourceOf = ({ unit, dropIns = {}, ownDropIn }: Case) => ({
  path: PATH,
  text: section(unit),
  dropIns: Object.entries(dropIns).map(([name, lines]) => ({
    path: `${PATH}.d/${name}`,
    text: section(lines),
  })),
  own: ownDropIn ? [{ path: ownPaths[0] ?? '', text: section(ownDropIn) }] : [],
  ownPaths,
  workingDirectory: '/srv/app',
});

function wishOf({ desired = {} }: Case) {
  const { concurrency = null, max = 'keep', high = 'keep' } = desired;
  return {
    ...workerDesired({
      unit: 'celery-worker.service',
      supportModule: { name: 'celeriac_support', text: '' },
    }),
    concurrency,
    memoryMaxBytes: sizeOf(max),
    memoryHighBytes: sizeOf(high),
  };
}

describe.each(cases)('%s', (_name, example) => {
  const chosen = chooseLimits(sourceOf(example), factsOf(example), wishOf(example));

  it(example.about, () => {
    const { max, high } = example.expected;
    expect([chosen.memoryMaxBytes, chosen.memoryHighBytes]).toEqual([sizeOf(max), sizeOf(high)]);
    expect(chosen.findings).toHaveLength(example.findings.length);
    for (const [at, text] of example.findings.entries()) {
      expect(chosen.findings[at]?.message).toContain(text);
      expect(chosen.findings[at]?.level).toBe(example.level ?? 'notice');
    }
  });

  it('never limits the worker below what it may need, or above what the host has', () => {
    const { memoryMaxBytes: max, why } = chosen;
    if (why === null || typeof max !== 'number' || example.worker === null) return;
    const children = example.desired?.concurrency ?? example.worker.children.length;
    const largest = Math.max(
      0,
      ...example.worker.children.map((each) => [each].flat().reduce((sum, size) => sum + size)),
    );
    expect(max).toBeGreaterThanOrEqual(1.5 * mib(example.worker.main + children * largest));
    expect(max).toBeLessThan(mib(example.limits?.system?.limit ?? example.host.total));
  });
});

describe('several units on a host', () => {
  const example = cases.find(([name]) => name === 'limited-neighbour')?.[1] as Case;
  const facts = factsOf(example);

  it('are compared with its memory', () => {
    expect(compareTogether(facts, mib(3072))).toEqual([]);
    const [finding] = compareTogether(facts, mib(3073));
    expect(finding?.level).toBe('warning');
    expect(finding?.message).toContain(
      'the memory limits of 2 units together are 4 GiB (celery-worker.service 3 GiB + shop.service 1 GiB), more than the host has (4 GiB)',
    );
  });

  it('are not compared if one has no limit, or nobody knows how much there is', () => {
    expect(compareTogether(facts, null)).toEqual([]);
    const inside = { ...facts, host: { ...facts.host, container: 'lxc' } };
    expect(compareTogether(inside, mib(4000))).toEqual([]);
  });

  it('count once if a slice limits them together', () => {
    const [service] = facts.limits.services;
    if (service === undefined) expect.fail('the fixture has a service');
    const limits = {
      ...facts.limits,
      slices: [{ name: 'shop.slice', memoryMaxBytes: mib(2048) }],
      services: ['a', 'b', 'c'].map((name) => ({
        ...service,
        name: `${name}.service`,
        slice: 'shop-web.slice',
      })),
    };
    expect(compareTogether({ ...facts, limits }, mib(2000))).toEqual([]);
    expect(compareTogether({ ...facts, limits }, mib(2100))[0]?.message).toContain(
      'of 2 units together are 4.1 GiB (celery-worker.service 2.1 GiB + shop.slice 2 GiB)',
    );
  });
});

it('knows the slices above a slice by its name', () => {
  expect(slicesAbove('a-b-c.slice')).toEqual(['-.slice', 'a.slice', 'a-b.slice', 'a-b-c.slice']);
  expect(slicesAbove('-.slice')).toEqual(['-.slice']);
  expect(slicesAbove('')).toEqual(['-.slice']);
});
