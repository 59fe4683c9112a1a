import { version } from '../generated/version.ts';
import { ConfigError } from '../model/errors.ts';
import { renderFailure } from '../report/failure.ts';
import { cleanup } from './cleanup.ts';
import type { Command, CommandTools } from './command.ts';
import { exitCodeOf, exitCodes } from './exit-code.ts';
import { asFlags, parseFlags } from './flags.ts';
import { harden, unharden } from './harden.ts';
import { renderCommands, renderHelp } from './help.ts';
import { init } from './init.ts';
import { logs } from './logs.ts';
import { nearest } from './nearest.ts';
import { releases } from './releases.ts';
import { soak } from './soak.ts';
import { status } from './status.ts';
import { guardTerminal } from './terminal.ts';

/** Required by the bundled SQLite. */
const oldestNode = 22;

/** Every command, in display order. */
export const commands: readonly Command[] = [
  init,
  status,
  releases,
  logs,
  cleanup,
  soak,
  harden,
  unharden,
];

/**
 * The command line: `celeriac <command> …`. Never throws.
 *
 * @returns the exit code
 */
export async function runCommand(words: readonly string[], tools: CommandTools): Promise<number> {
  const terminal = guardTerminal(tools.terminal);
  const [name, ...rest] = words;
  const node = process.versions.node;
  if (Number(node.split('.')[0]) < oldestNode) {
    terminal.note(`celeriac requires Node.js ${oldestNode} or newer; this is ${node}`);
    return exitCodes.usage;
  }
  const command = commands.find((each) => each.name === name);
  if (name === undefined || words.includes('--help') || words.includes('-h')) {
    terminal.out(command === undefined ? renderCommands(commands) : renderHelp(command));
    return name === undefined ? exitCodes.usage : exitCodes.done;
  }
  if (name === '--version') {
    terminal.out(`celeriac ${version}\n`);
    return exitCodes.done;
  }
  try {
    if (command === undefined) throw unknownCommand(name);
    return await command.run(parseFlags(command, rest), { ...tools, terminal });
  } catch (error) {
    if (tools.interrupted.aborted) {
      terminal.note(
        'interrupted; work that has begun on the host continues there until it is done',
      );
      return exitCodes.interrupted;
    }
    const told = error instanceof ConfigError ? asFlags(error) : error;
    terminal.note(renderFailure(told, { action: command?.name ?? 'celeriac' }).message);
    return exitCodeOf(error);
  }
}

function unknownCommand(word: string): ConfigError {
  const names = commands.map(({ name }) => name);
  const meant = nearest(word, names);
  const expected = meant === null ? `one of ${names.join(', ')}` : `\`celeriac ${meant}\`?`;
  return new ConfigError(
    'command line',
    `unknown command \`${word}\``,
    `${expected}; see \`celeriac --help\``,
  );
}
