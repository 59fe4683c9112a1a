import { describe, expect, test } from 'vitest';
import { paint, showsColour } from '../../../src/cli/paint.ts';
import { guardTerminal } from '../../../src/cli/terminal.ts';

const esc = '\u001b[';

test.each([
  ['       +added', `${esc}32m       +added${esc}0m`],
  ['       -gone', `${esc}31m       -gone${esc}0m`],
  ['warning: swap', `${esc}33mwarning:${esc}0m swap`],
  ['- [x] swap', `${esc}32m- [x]${esc}0m swap`],
  ['Not healthy: 1', `${esc}31mNot healthy${esc}0m: 1`],
  ['plain -text', 'plain -text'],
])('%j', (line, painted) => expect(paint(line)).toBe(painted));

describe('colours', () => {
  const terminal = { isTTY: true };

  test('are for a terminal, unless somebody says no', () => {
    expect(showsColour(terminal, { TERM: 'xterm' })).toBe(true);
    expect(showsColour(terminal, { TERM: 'xterm', NO_COLOR: '' })).toBe(true);
    expect(showsColour(terminal, { TERM: 'xterm', NO_COLOR: '1' })).toBe(false);
    expect(showsColour(terminal, { TERM: 'dumb' })).toBe(false);
    expect(showsColour({}, { TERM: 'xterm' })).toBe(false);
  });

  test('are ours alone: those of a host do not get through', () => {
    const said: string[] = [];
    const { out, note } = guardTerminal({
      out: (text) => said.push(text),
      note: (line) => said.push(line),
      colours: { out: true, note: false },
    });
    out(`warning: ${esc}31mred`);
    note('warning: plain');
    const begin = `${esc}33mwarning:${esc}0m `;
    expect(said[0]?.startsWith(begin)).toBe(true);
    expect(said[0]?.slice(begin.length)).not.toContain('\u001b');
    expect(said[1]).toBe('warning: plain');
  });
});
