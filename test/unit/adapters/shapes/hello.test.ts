import { describe, expect, it } from 'vitest';
import { helloShape } from '../../../../src/adapters/shapes/answers.ts';
import { mayChange } from '../../../../src/model/outcome.ts';
import { HELLO } from '../ssh-server.ts';

const installed = (access: string) => ({
  ...HELLO,
  hardened: true,
  version: '3f9c02d41b7e',
  access,
});

describe('the hello of an agent', () => {
  it.each([
    ['sent by this run', HELLO, true],
    ['installed, to change', installed('change'), true],
    ['installed, to read', installed('read'), false],
    ['installed, without a policy that can be used', installed('none'), false],
  ])('%s', (_, hello, expected) => {
    const read = helloShape.parse(hello);
    expect(read).toEqual(hello);
    expect(mayChange(read)).toBe(expected);
  });

  it.each(['version', 'access'])('of an installed agent says its %s', (key) => {
    const { [key]: _, ...hello } = installed('change') as Record<string, unknown>;
    expect(helloShape.safeParse(hello).success).toBe(false);
  });
});
