import { version } from '../generated/version.ts';
import { ConfigError } from '../model/errors.ts';
import { renderFailure } from '../report/failure.ts';
import { type CommandTools, cleanUp } from './cleanup.ts';
import { exitCodeOf, exitCodes } from './exit-code.ts';
import { asFlags, renderHelp } from './flags.ts';
import { guardTerminal } from './terminal.ts';

/** Required by the bundled SQLite. */
const oldestNode = 22;

/**
 * The command line: `celeriac cleanup …`. Never throws.
 *
 * @returns the exit code
 */
export async function runCommand(words: readonly string[], tools: CommandTools): Promise<number> {
  const terminal = guardTerminal(tools.terminal);
  const [command, ...rest] = words;
  const node = process.versions.node;
  if (Number(node.split('.')[0]) < oldestNode) {
    terminal.note(`celeriac requires Node.js ${oldestNode} or newer; this is ${node}`);
    return exitCodes.usage;
  }
  if (words.includes('--help') || words.includes('-h') || command === undefined) {
    terminal.out(renderHelp());
    return command === undefined ? exitCodes.usage : exitCodes.done;
  }
  if (command === '--version') {
    terminal.out(`celeriac ${version}\n`);
    return exitCodes.done;
  }
  try {
    if (command !== 'cleanup') {
      const problem = `unknown command '${command}'`;
      throw new ConfigError('command line', problem, '`celeriac cleanup`; see `celeriac --help`');
    }
    return await cleanUp(rest, { ...tools, terminal });
  } catch (error) {
    if (tools.interrupted.aborted) {
      terminal.note(
        'interrupted; work that has begun on the host continues there until it is done',
      );
      return exitCodes.interrupted;
    }
    const told = error instanceof ConfigError ? asFlags(error) : error;
    terminal.note(renderFailure(told, { action: 'cleanup' }).message);
    return exitCodeOf(error);
  }
}
