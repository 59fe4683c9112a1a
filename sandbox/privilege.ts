import { spawnSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { type CommandOptions, type CommandResult, execute } from './command.ts';
import { SANDBOX_FOLDER } from './folders.ts';

const SCRIPT = join(SANDBOX_FOLDER, 'container.sh');

let sudo: boolean | undefined;

/** The command prefix to become root: empty if this process is root, or `sudo -n`, or undefined. */
export function rootCommand(): readonly string[] | undefined {
  if (process.getuid?.() === 0) return [];
  sudo ??= spawnSync('sudo', ['-n', 'true'], { stdio: 'ignore' }).status === 0;
  return sudo ? ['sudo', '-n'] : undefined;
}

/** Runs a command of container.sh as root. @throws SandboxError with its error. */
export async function asRoot(
  verb: string,
  args: readonly string[] = [],
  options: CommandOptions = {},
): Promise<CommandResult> {
  const [program = '', ...rest] = [...(rootCommand() ?? []), 'bash', SCRIPT, verb, ...args];
  return await execute(program, rest, options);
}

/** The same while this process exits, without waiting. */
export function asRootAtOnce(verb: string, args: readonly string[]): void {
  const [program = '', ...rest] = [...(rootCommand() ?? []), 'bash', SCRIPT, verb, ...args];
  spawnSync(program, rest, { stdio: 'ignore' });
}

/** Removes a folder of the sandbox, in which root may have written. */
export function removeTree(folder: string): void {
  try {
    rmSync(folder, { recursive: true, force: true });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EACCES') throw error;
    asRootAtOnce('delete', [folder]);
  }
}
