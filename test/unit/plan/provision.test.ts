import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ConfigError } from '../../../src/model/errors.ts';
import { type Bytes, bytes } from '../../../src/model/units.ts';
import { type ProvisionFacts, planProvision } from '../../../src/plan/swap.ts';

const desired = { path: '/swapfile', sizeBytes: bytes(2 * 1024 ** 3), swappiness: 10 };
const GiB = 1024 ** 3;

interface Case {
  readonly about: string;
  /** Laid over the facts of a host that is as desired. */
  readonly facts: Record<string, unknown>;
  readonly operations?: readonly {
    readonly op: string;
    readonly why: string;
    readonly text?: string;
  }[];
  readonly findings?: readonly string[];
  readonly error?: { readonly where: string; readonly message: string };
}

function healthy(): Record<string, unknown> {
  return {
    host: { container: null, memory: { availableBytes: 3 * GiB } },
    swap: {
      file: {
        kind: 'file',
        sizeBytes: 2 * GiB,
        allocatedBytes: 2 * GiB,
        mode: '0600',
        owner: 'root',
        formatted: true,
        blank: false,
      },
      active: [
        { path: '/swapfile', type: 'file', sizeBytes: 2 * GiB - 4096, usedBytes: 0, priority: -2 },
      ],
      fstab: {
        kind: 'file',
        text: '/dev/vda / ext4 rw 0 1\n/swapfile none swap sw 0 0\n',
        sha256: 'f',
        sizeBytes: 10,
        mode: '0644',
        owner: 'root',
        group: 'root',
      },
      filesystem: { type: 'ext4', mountPoint: '/', sizeBytes: 50 * GiB, freeBytes: 42 * GiB },
    },
    sysctl: {
      values: { 'vm.swappiness': '10' },
      readOnly: [],
      settings: [
        { name: 'vm.swappiness', value: '10', path: '/etc/sysctl.d/99-zz-celeriac.conf', line: 2 },
      ],
    },
    files: { '/etc/sysctl.d/99-zz-celeriac.conf': { kind: 'absent' } },
  };
}

/** Objects are merged, everything else is replaced. */
function overlay(base: unknown, change: unknown): unknown {
  if (!isObject(base) || !isObject(change)) {
    return change;
  }
  const merged: Record<string, unknown> = 'kind' in change ? {} : { ...base };
  for (const [key, value] of Object.entries(change)) {
    merged[key] = key in base ? overlay(base[key], value) : value;
  }
  return merged;
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const folder = join(import.meta.dirname, 'fixtures/provision');
const cases = readdirSync(folder)
  .filter((name) => name.endsWith('.json'))
  .map((name) => [name, JSON.parse(readFileSync(join(folder, name), 'utf8')) as Case] as const);

describe('planProvision', () => {
  it('has cases', () => {
    expect(cases.length).toBeGreaterThan(10);
  });

  it.each(cases)('%s', (_name, { facts, operations, findings, error }) => {
    const all = overlay(healthy(), facts) as ProvisionFacts;
    if (error !== undefined) {
      expect(() => planProvision(all, desired)).toThrow(ConfigError);
      expect(() => planProvision(all, desired)).toThrow(error.message);
      return;
    }
    const plan = planProvision(all, desired);
    expect(
      plan.operations.map((operation) => ({
        op: operation.op,
        why: operation.why,
        ...(operation.op === 'write-file' && { text: operation.text }),
      })),
    ).toEqual(operations);
    expect(plan.findings.map((finding) => finding.message)).toEqual(findings ?? []);
  });

  it('shows what it writes as a diff', () => {
    const facts = overlay(healthy(), { swap: { fstab: { kind: 'absent' } } }) as ProvisionFacts;
    const [operation] = planProvision(facts, desired).operations;
    expect(operation?.diff).toContain('+/swapfile none swap sw 0 0');
  });

  it.each([
    ['ext4', 'allocate', false],
    ['xfs', 'allocate', false],
    ['btrfs', 'write', true],
    ['ext2', 'write', false],
    ['f2fs', 'write', false],
  ])('tells the host how to create a swap file on %s', (type, fill, nocow) => {
    const facts = overlay(healthy(), {
      swap: { file: { kind: 'absent' }, active: [], filesystem: { type } },
    }) as ProvisionFacts;
    const [make] = planProvision(facts, desired).operations;
    expect(make).toMatchObject({ op: 'make-swap', filesystem: type, fill, nocow });
  });

  it.each(['zfs', 'tmpfs', 'overlay', 'nfs4', 'fuse.sshfs', 'bcachefs'])(
    'makes no swap file on %s',
    (type) => {
      const facts = overlay(healthy(), {
        swap: { file: { kind: 'absent' }, active: [], filesystem: { type } },
      }) as ProvisionFacts;
      expect(() => planProvision(facts, desired)).toThrow('cannot hold a swap file');
    },
  );

  it('says what a container leaves as it is', () => {
    const facts = overlay(healthy(), {
      host: { container: 'lxc' },
      sysctl: { values: { 'vm.swappiness': '60' }, readOnly: ['vm.swappiness'] },
    }) as ProvisionFacts;
    expect(planProvision(facts, desired).unmet).toEqual(['swap', 'vm.swappiness']);
    expect(planProvision(healthy() as ProvisionFacts, desired).unmet).toBeUndefined();
  });

  it('keeps the reserve free', () => {
    const facts = overlay(healthy(), {
      swap: { file: { kind: 'absent' }, active: [], filesystem: { freeBytes: 2 * GiB } },
    }) as ProvisionFacts;
    expect(() => planProvision(facts, desired)).toThrow('must stay free');
    const small = { ...desired, sizeBytes: (GiB / 2) as Bytes };
    expect(planProvision(facts, small).operations[0]?.op).toBe('make-swap');
  });
});
