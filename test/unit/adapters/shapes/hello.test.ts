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
    ['sent by this run', HELLO, { kind: 'streamed' }, true],
    ['installed, to change', installed('change'), { kind: 'installed' }, true],
    ['installed, to read', installed('read'), { kind: 'installed' }, false],
    [
      'installed, without a policy that can be used',
      installed('none'),
      { kind: 'installed' },
      false,
    ],
  ])('%s', (_, hello, kind, expected) => {
    const read = helloShape.parse(hello);
    const { hardened: _hardened, ...said } = { hardened: undefined, ...hello };
    expect(read).toEqual({ ...said, ...kind });
    expect(mayChange(read)).toBe(expected);
  });

  it.each(['version', 'access'])('of an installed agent says its %s', (key) => {
    const { [key]: _, ...hello } = installed('change') as Record<string, unknown>;
    expect(helloShape.safeParse(hello).success).toBe(false);
  });
});
