import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import type { DeployWorkerDesired } from '../../../src/config/deploy-worker-desired.ts';
import { supportDirectoryOf } from '../../../src/config/support-directory.ts';
import type { Plan } from '../../../src/model/operation.ts';
import { bytes } from '../../../src/model/units.ts';
import type { DeployWorkerFacts } from '../../../src/plan/deploy/look.ts';
import { planDeployWorker } from '../../../src/plan/deploy-worker.ts';
import { type ProvisionFacts, planProvision } from '../../../src/plan/swap.ts';
import { workerDesired } from '../../lib/worker-desired.ts';

/*
 * What the brain plans, the policy of a hardened host allows: the plan of every fixture is judged by
 * the rules of the host, as if its unit ran as the app's user.
 */

const folder = join(import.meta.dirname, '../plan/fixtures/deploy-worker');
const driver = join(import.meta.dirname, 'judge_plans.py');
const support = '# the support module\n';

interface Case {
  readonly host: string;
  readonly unit?: string | readonly string[];
  readonly facts?: Record<string, unknown>;
  readonly desired?: Partial<DeployWorkerDesired>;
  readonly error?: unknown;
}

const readJson = (path: string): unknown => JSON.parse(readFileSync(join(folder, path), 'utf8'));
const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function overlay(base: unknown, change: unknown): unknown {
  if (!isObject(base) || !isObject(change)) return change;
  const merged: Record<string, unknown> = 'kind' in change ? {} : { ...base };
  for (const [key, value] of Object.entries(change)) {
    merged[key] = key in merged ? overlay(merged[key], value) : value;
  }
  return merged;
}

function factsOf({ host, unit, facts }: Case): DeployWorkerFacts {
  const base = readJson(`hosts/${host}.json`);
  const text = typeof unit === 'string' ? unit : unit?.map((line) => `${line}\n`).join('');
  const sha256 = createHash('sha256')
    .update(text ?? '')
    .digest('hex');
  const fragment = { kind: 'file', text, sha256, sizeBytes: 1, mode: '0644', owner: 'root' };
  const whole = text === undefined ? base : overlay(base, { unit: { fragment } });
  return overlay(whole, facts ?? {}) as DeployWorkerFacts;
}

interface Judged {
  readonly policy: Readonly<Record<string, unknown>>;
  readonly support: string;
  readonly unit: unknown;
  readonly fstab?: string;
  readonly operations: Plan['operations'];
}

function judge(cases: readonly Judged[]): readonly (string | null)[] {
  const done = spawnSync('python3', ['-I', driver], {
    input: JSON.stringify(cases),
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
  });
  if (done.status !== 0) throw new Error(done.stderr);
  return JSON.parse(done.stdout) as (string | null)[];
}

it('every plan of the fixtures of deploy-worker is allowed', () => {
  const names = readdirSync(folder).filter((name) => name.endsWith('.json'));
  const planned = names.flatMap((name) => {
    const example = readJson(name) as Case;
    if (example.error !== undefined) return [];
    const facts = factsOf(example);
    const desired = {
      ...workerDesired({
        unit: 'celery-worker.service',
        supportModule: { name: 'celeriac_support', text: support },
        supportDirectory: supportDirectoryOf(support),
      }),
      ...example.desired,
    };
    const { operations } = planDeployWorker(facts, desired);
    const release = desired.release?.from;
    const judged: Judged = {
      policy: {
        version: 1,
        access: 'change',
        units: [desired.unit],
        appUser: 'app',
        companions: desired.companions?.map(({ unit }) => unit) ?? [],
        databases: ['/srv/app/app.db'],
        checkout: release?.source === 'git' ? '/root/slideshow' : null,
        deployTo: release?.source === 'upload' ? release.deployTo : null,
        urls: ['http://127.0.0.1:8000/'],
        commands: desired.beforeStart?.commands ?? [],
        writablePaths: desired.readWritePaths,
      },
      support,
      unit: facts.unit,
      operations: operations.map((each) => ('user' in each ? { ...each, user: 'app' } : each)),
    };
    return [[name.slice(0, -'.json'.length), judged] as const];
  });
  expect(planned.length).toBeGreaterThan(50);
  const verdicts = judge(planned.map(([, judged]) => judged));
  const found = Object.fromEntries(
    planned.flatMap(([name], index) => (verdicts[index] == null ? [] : [[name, verdicts[index]]])),
  );
  expect(found).toEqual({});
});

it('every plan of provision is allowed', () => {
  const GiB = 1024 ** 3;
  const file = { kind: 'file', sha256: 'f'.repeat(64), sizeBytes: 1, mode: '0644', owner: 'root' };
  const swapFile = {
    kind: 'file',
    sizeBytes: GiB,
    allocatedBytes: GiB,
    mode: '0644',
    owner: 'root',
    formatted: true,
    blank: false,
  };
  const active = { path: '/swapfile', type: 'file', sizeBytes: GiB, usedBytes: 0, priority: -2 };
  const variants = ['', '/dev/vda / ext4 rw 0 1\n/swapfile none swap noauto,pri=5 0 0\n'].flatMap(
    (fstab) =>
      [
        { kind: 'absent' },
        swapFile,
        { ...swapFile, sizeBytes: 2 * GiB, allocatedBytes: 2 * GiB },
      ].map((swap) => ({ fstab, swap })),
  );
  const cases = variants.map(({ fstab, swap }) => {
    const facts = {
      host: { container: null, memory: { availableBytes: 3 * GiB } },
      swap: {
        file: swap,
        active: swap.kind === 'file' ? [active] : [],
        fstab: { ...file, text: fstab, group: 'root' },
        filesystem: { type: 'ext4', mountPoint: '/', sizeBytes: 50 * GiB, freeBytes: 42 * GiB },
      },
      sysctl: { values: { 'vm.swappiness': '60' }, readOnly: [], settings: [] },
      files: {},
    } as unknown as ProvisionFacts;
    const desired = { path: '/swapfile', sizeBytes: bytes(2 * GiB), swappiness: 10 };
    const policy = {
      version: 1,
      access: 'change',
      units: ['x.service'],
      appUser: 'app',
      swap: { path: '/swapfile', largestBytes: 2 * GiB },
      sysctl: { 'vm.swappiness': [0, 100] },
    };
    const { operations } = planProvision(facts, desired);
    return { policy, support, unit: null, fstab, operations };
  });
  const ops = new Set(cases.flatMap(({ operations }) => operations.map(({ op }) => op)));
  expect([...ops].sort()).toEqual(
    ['make-swap', 'set-mode', 'set-sysctl', 'swap-off', 'swap-on', 'write-file'].sort(),
  );
  expect(judge(cases)).toEqual(cases.map(() => null));
});
