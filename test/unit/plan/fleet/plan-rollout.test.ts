import { describe, expect, it } from 'vitest';
import { ConfigError } from '../../../../src/model/errors.ts';
import { planRollout } from '../../../../src/plan/fleet/plan-rollout.ts';

const hosts = (count: number): readonly string[] =>
  Array.from({ length: count }, (_, index) => `web${index + 1}`);

const plan = (
  names: readonly string[],
  patterns: readonly string[] = [],
  canary: readonly string[] = [],
) => planRollout({ names, patterns, canary });

describe('a rollout', () => {
  it('begins with the first host, then the others in the order of the file', () => {
    expect(plan(['b', 'a', 'c'])).toEqual({ canary: ['b'], matrices: [['a', 'c'], [], [], []] });
  });

  it('begins with the canaries, wherever they are in the file', () => {
    expect(plan(['b', 'a', 'c'], [], ['c', 'a'])).toMatchObject({
      canary: ['a', 'c'],
      matrices: [['b'], [], [], []],
    });
  });

  it('has no canary if that is what was asked for', () => {
    expect(plan(['a', 'b'], [], ['none'])).toMatchObject({
      canary: [],
      matrices: [['a', 'b'], [], [], []],
    });
  });

  it('of a part of the hosts has a canary, too', () => {
    const names = ['web1', 'web2', 'db1', 'db2'];
    expect(plan(names, ['db*'], ['web1'])).toMatchObject({
      canary: ['db1'],
      matrices: [['db2'], [], [], []],
    });
    expect(plan(names, ['*2'], ['db2'])).toMatchObject({
      canary: ['db2'],
      matrices: [['web2'], [], [], []],
    });
    expect(plan(names, ['web?', 'db2']).matrices[0]).toEqual(['web2', 'db2']);
  });

  it('of a thousand hosts is in matrices that GitHub takes, each host once', () => {
    const names = hosts(1000);
    const { canary, matrices } = plan(names, [], ['web7', 'web500']);
    expect(matrices.map(({ length }) => length)).toEqual([256, 256, 256, 230]);
    expect(canary).toEqual(['web7', 'web500']);
    expect([...canary, ...matrices.flat()].sort()).toEqual([...names].sort());
  });

  it.each<[string, readonly string[], readonly string[], readonly string[], string]>([
    ['more hosts than matrices hold', hosts(1025), [], [], 'too many hosts for one run: 1025'],
    ['more canaries than a matrix holds', hosts(300), [], hosts(257), 'too many canaries: 257'],
    ['a pattern that matches nothing', ['web1'], ['web1', 'bd*'], [], 'no host matches `bd*`'],
    ['letters that are special elsewhere', ['web1'], ['web.'], [], 'no host matches `web.`'],
    ['a canary that is not there', ['web1'], [], ['web2'], 'unknown host `web2` in `canary`'],
    ['no canary and one', ['web1'], [], ['none', 'web1'], '`canary` combines `none` with'],
  ])('refuses %s', (_, names, patterns, canary, problem) => {
    expect(() => plan(names, patterns, canary)).toThrow(ConfigError);
    expect(() => plan(names, patterns, canary)).toThrow(problem);
  });
});
