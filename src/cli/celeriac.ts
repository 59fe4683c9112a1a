import { hostname } from 'node:os';
import { version } from '../generated/version.ts';
import { ConfigError } from '../model/errors.ts';
import { escapeJson } from '../report/escape.ts';
import { renderFailure } from '../report/failure.ts';
import { cleanup } from './cleanup.ts';
import type { Command, CommandTools } from './command.ts';
import { completionOf } from './completion.ts';
import { deploy } from './deploy.ts';
import { doctor } from './doctor.ts';
import { exitCodeOf, exitCodes } from './exit-code.ts';
import { asFlags, type GivenFlags, parseFlags } from './flags.ts';
import { withFleet } from './fleet.ts';
import { harden, unharden } from './harden.ts';
import { renderCommands, renderHelp } from './help.ts';
import { init } from './init.ts';
import { logs } from './logs.ts';
import { nearest } from './nearest.ts';
import { provision } from './provision.ts';
import { releases } from './releases.ts';
import { rollback } from './rollback.ts';
import { RunDocument } from './run-document.ts';
import { soak } from './soak.ts';
import { Interrupted } from './standing.ts';
import { status } from './status.ts';
import { guardTerminal, type Terminal } from './terminal.ts';
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
  const told = watchOutput(terminal);
  let given: GivenFlags = new Map();
  try {
    if (command === undefined) throw unknownCommand(name);
    given = parseFlags(command, rest);
    return await command.run(withFleet(command, given), { ...tools, terminal: told.terminal });
  } catch (error) {
    if (tools.interrupted.aborted) {
      // Work on the host says itself how far it is.
      const state =
        error instanceof Interrupted ? error.message : 'nothing was changed on the host';
      terminal.note(`interrupted; ${state}`);
      return exitCodes.interrupted;
    }
    const code = exitCodeOf(error);
    // Of a command that fails before it has a document of its own.
    if (given.get('json') === 'true' && !told.hasOut()) {
      const document = documentOf(name, given).finish(error, code);
      terminal.out(`${escapeJson(JSON.stringify(document, null, 2))}\n`);
    }
    const shown = error instanceof ConfigError ? asFlags(error) : error;
    terminal.note(renderFailure(shown, { action: command?.name ?? 'celeriac' }).message);
    return code;
  }
}

/** The terminal, and whether anything was written to its stdout. */
function watchOutput(terminal: Terminal): { terminal: Terminal; hasOut: () => boolean } {
  let hasOut = false;
  const out = (text: string): void => {
    hasOut = true;
    terminal.out(text);
  };
  return { terminal: { ...terminal, out }, hasOut: () => hasOut };
}

/** Of a fleet, `host` is empty. */
function documentOf(command: string, given: GivenFlags): RunDocument {
  const host = given.get('host') ?? (given.has('fleet') ? '' : hostname());
  return new RunDocument({ command, host, dryRun: given.get('dry-run') === 'true' });
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
