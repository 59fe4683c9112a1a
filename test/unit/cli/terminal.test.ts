import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { runCommand } from '../../../src/cli/celeriac.ts';
import type { CommandTools } from '../../../src/cli/command.ts';
import { guardTerminal } from '../../../src/cli/terminal.ts';
import { TerminalRun } from '../../../src/cli/terminal-run.ts';
import { HostError } from '../../../src/model/errors.ts';
import type { Agent } from '../../../src/ports/agent.ts';

/** What a hostile host prints: fills the clipboard, clears the screen, sets the title, speaks to a runner. */
const hostile = [
  '\u001b]52;c;cm0gLXJmIC8=\u0007',
  '\u001b[2J\u001b[H',
  '\u001b]0;root@other\u001b\\',
  '\u009b31m',
  '\u009d52;c;eA==\u009c',
  '\u202eevil',
  '\u0008\u0008\u007f',
  '\n::error::stopped',
  '##[error]stopped',
];
const words = fc.array(fc.constantFrom(...hostile, 'line', ' ', '\n', '\t', '"'), {
  maxLength: 12,
});

/** Whatever would control a terminal, or command a runner. */
const controls =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e]|^\s*::error::|##\[/m;

function kept() {
  const out: string[] = [];
  const notes: string[] = [];
  const terminal = guardTerminal({
    out: (text) => void out.push(text),
    note: (line) => void notes.push(line),
  });
  return { terminal, out, notes };
}

const runOn = (terminal: CommandTools['terminal'], json: boolean) =>
  new TerminalRun({
    terminal,
    meta: { action: 'cleanup', holder: '', sha: '', actor: '', lockTimeoutSeconds: 1 as never },
    dryRun: true,
    json,
    interrupted: new AbortController().signal,
  });

describe('text from a host', () => {
  test('controls no terminal, on whichever way it is printed', async () => {
    await fc.assert(
      fc.asyncProperty(words, async (parts) => {
        const text = parts.join('');
        const { terminal, out, notes } = kept();
        const run = runOn(terminal, false);
        run.warn(text);
        run.onProgress()({ kind: 'note', message: text } as never);
        await run.showDetails(text, [text]);
        await run.showPlan({
          operations: [],
          findings: [{ level: 'warning', message: text, where: text }],
          satisfied: [text],
        });
        run.report(
          {} as Agent,
          {
            sentence: text,
            data: undefined,
            findings: [{ level: 'notice', message: text }],
          } as never,
        );
        for (const line of [...out, ...notes]) expect(line).not.toMatch(controls);
      }),
    );
  });

  test('is in JSON as it is, but escaped', () => {
    fc.assert(
      fc.property(words, (parts) => {
        const data = { [parts.join('')]: parts };
        const { terminal, out } = kept();
        runOn(terminal, true).report(
          {} as Agent,
          {
            sentence: '',
            data,
            findings: [],
          } as never,
        );
        expect(out.join('')).not.toMatch(controls);
        expect(JSON.parse(out.join(''))).toEqual(data);
      }),
    );
  });

  test('in an error controls no terminal either', async () => {
    const printed: string[] = [];
    const code = await runCommand(['cleanup', '--dry-run'], {
      terminal: { out: (text) => printed.push(text), note: (line) => printed.push(line) },
      interrupted: new AbortController().signal,
      person: { name: 'root', uid: 0 },
      openAgent: async (_, note) => {
        note(hostile.join(''));
        throw new HostError(hostile.join(''), {
          step: hostile.join(''),
          evidence: hostile,
          next: '',
        });
      },
    });
    expect(code).toBe(1);
    expect(printed.length).toBeGreaterThan(1);
    for (const line of printed) expect(line).not.toMatch(controls);
  });
});

test('what a result tells besides its plan is printed', () => {
  const { terminal, notes } = kept();
  const findings = [{ level: 'notice', message: 'shop-worker@b.service keeps its code' }] as const;
  const nothing = { subject: 'u', checklist: [], plan: null, outcome: null };
  runOn(terminal, false).report({} as Agent, { ...nothing, sentence: 'Undone.', findings });
  expect(notes).toContain('notice: shop-worker@b.service keeps its code');
});
