import { describe, expect, test } from 'vitest';
import { type Capacity, chooseKind } from '../../../sandbox/capacity.ts';

const none: Capacity = { why: 'this machine has no cgroup v2' };
const plain: Capacity = { gives: new Set() };
const limits: Capacity = { gives: new Set(['memory'] as const) };

describe('the kind of a host', () => {
  test.each([
    ['a container, where nothing is needed', plain, [], undefined, 'container'],
    ['a VM, for what a container shares', plain, ['swap'], undefined, 'vm'],
    ['a VM, where limits of memory do not hold', plain, ['memory'], undefined, 'vm'],
    ['a container, where they do', limits, ['memory'], undefined, 'container'],
    ['a VM, where there is one thing more', limits, ['memory', 'swap'], undefined, 'vm'],
    ['a VM, where one is asked for', limits, [], 'vm', 'vm'],
    ['a VM, where no container can be had', none, [], undefined, 'vm'],
  ] as const)('is %s', (_, capacity, needs, wanted, kind) => {
    expect(chooseKind(capacity, needs, wanted).kind).toBe(kind);
  });

  test('a reason for a VM is given only if this machine cannot run containers', () => {
    expect(chooseKind(none, [], undefined).why).toBe(
      'no containers here: this machine has no cgroup v2',
    );
    expect(chooseKind(plain, ['swap'], undefined).why).toBeUndefined();
  });

  test('a requested container that is not available is an error', () => {
    expect(() => chooseKind(none, [], 'container')).toThrow(
      'no containers here: this machine has no cgroup v2',
    );
    expect(() => chooseKind(plain, ['swap', 'power'], 'container')).toThrow(
      'a container cannot provide: swap, power',
    );
  });
});
