import { version } from '../generated/version.ts';
import { ConfigError } from '../model/errors.ts';
import { renderFailure } from '../report/failure.ts';
import { cleanup } from './cleanup.ts';
import type { Command, CommandTools } from './command.ts';
import { completionOf } from './completion.ts';
import { deploy } from './deploy.ts';
import { doctor } from './doctor.ts';
import { exitCodeOf, exitCodes } from './exit-code.ts';
import { asFlags, parseFlags } from './flags.ts';
import { fleetFlag, withFleetHost } from './fleet.ts';
import { harden, unharden } from './harden.ts';
import { renderCommands, renderHelp } from './help.ts';
import { init } from './init.ts';
import { logs } from './logs.ts';
import { nearest } from './nearest.ts';
import { provision } from './provision.ts';
import { releases } from './releases.ts';
import { rollback } from './rollback.ts';
import { soak } from './soak.ts';
import { Interrupted } from './standing.ts';
import { status } from './status.ts';
import { guardTerminal } from './terminal.ts';
import { verify } from './verify.ts';

/** The first one whose `parseArgs` negates switches. */
const oldestNode = [20, 17] as const;

/** Every command, in display order. */
export const commands: readonly Command[] = [
  init,
  status,
  doctor,
  releases,
  logs,
  provision,
  deploy,
  verify,
  rollback,
  cleanup,
  soak,
  harden,
  unharden,
  completionOf(() => commands),
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
  const [major = 0, minor = 0] = node.split('.').map(Number);
  if (major < oldestNode[0] || (major === oldestNode[0] && minor < oldestNode[1])) {
    terminal.note(`celeriac requires Node.js ${oldestNode.join('.')} or newer; this is ${node}`);
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
    const given = parseFlags(command, rest);
    const flags = command.own.includes(fleetFlag) ? withFleetHost(given) : given;
    return await command.run(flags, { ...tools, terminal });
  } catch (error) {
    if (tools.interrupted.aborted) {
      // Work on the host says itself how far it is.
      const state =
        error instanceof Interrupted ? error.message : 'nothing was changed on the host';
      terminal.note(`interrupted; ${state}`);
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
