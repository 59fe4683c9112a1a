import type { Command } from './command.ts';
import { completionScript, shells } from './completion-scripts.ts';
import { exitCodes } from './exit-code.ts';

/**
 * `celeriac completion`.
 *
 * @param all every command, this one included
 */
export const completionOf = (all: () => readonly Command[]): Command => ({
  name: 'completion',
  summary: 'Prints a script that lets a shell complete commands, flags and their values.',
  usage: 'bash|zsh|fish',
  about: [
    'bash: `eval "$(celeriac completion bash)"` in ~/.bashrc. zsh: the same with zsh in ~/.zshrc, after compinit. fish: `celeriac completion fish | source` in ~/.config/fish/config.fish.',
  ],
  inputs: {},
  own: [],
  argument: { name: 'shell', choices: shells },
  exits: { [exitCodes.done]: 'done', [exitCodes.usage]: 'invalid usage' },
  refuse: () => {},
  run: async (flags, { terminal }) => {
    const shell = shells.find((each) => each === flags.get('shell')) ?? 'bash';
    terminal.out(completionScript(shell, all()));
    return exitCodes.done;
  },
});
