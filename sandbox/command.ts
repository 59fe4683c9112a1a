import { spawn } from 'node:child_process';
import { SandboxError } from './failure.ts';

/** The exit code and the output of a finished command. */
export type CommandResult = { code: number; stdout: string; stderr: string };

/** How to run a command. */
export type CommandOptions = {
  input?: string | Buffer;
  env?: NodeJS.ProcessEnv;
  cwd?: string;
  /** A non-zero exit code is a result, not an error. */
  allowFailure?: boolean;
  /** After this many seconds the command is killed, with exit code 124. */
  timeoutSeconds?: number;
  /** The error if the program is not installed. */
  missing?: string;
};

/**
 * Runs a program without a shell and waits for it.
 *
 * @throws SandboxError when it cannot be started, or fails and that is not allowed.
 */
export async function execute(
  program: string,
  args: readonly string[],
  options: CommandOptions = {},
): Promise<CommandResult> {
  const child = spawn(program, args, {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: options.env ?? process.env,
    cwd: options.cwd,
  });
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
  child.stdin.on('error', () => {}); // the program may exit before it has read its input
  child.stdin.end(options.input ?? '');

  let timedOut = false;
  const timer =
    options.timeoutSeconds === undefined
      ? undefined
      : setTimeout(() => {
          timedOut = true;
          child.kill('SIGKILL');
        }, options.timeoutSeconds * 1000);

  const code = await new Promise<number>((resolve, reject) => {
    child.on('error', (error: NodeJS.ErrnoException) => {
      reject(
        new SandboxError(
          error.code === 'ENOENT'
            ? (options.missing ?? `${program} is not installed`)
            : `${program}: ${error.message}`,
        ),
      );
    });
    // A shared connection keeps the pipes of a killed client open: do not wait for them.
    child.on('exit', () => {
      if (!timedOut) return;
      child.stdout.destroy();
      child.stderr.destroy();
      resolve(TIMED_OUT);
    });
    child.on('close', (exit, signal) => {
      resolve(timedOut ? TIMED_OUT : (exit ?? 128 + (signal === 'SIGKILL' ? 9 : 15)));
    });
  }).finally(() => clearTimeout(timer));

  const result = {
    code,
    stdout: Buffer.concat(stdout).toString('utf8'),
    stderr: Buffer.concat(stderr).toString('utf8'),
  };
  if (code !== 0 && !options.allowFailure) {
    const said = (result.stderr.trim() || result.stdout.trim()).split('\n').slice(-15).join('\n');
    const shown = [program, ...args].join(' ').slice(0, 300);
    throw new SandboxError(
      `${shown}\n  failed with exit code ${code}${said === '' ? '' : `: ${said}`}`,
    );
  }
  return result;
}

/** The exit code of timeout(1). */
const TIMED_OUT = 124;

/** Waits. */
export function sleep(seconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, seconds * 1000));
}
