import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { buffer } from 'node:stream/consumers';

export interface TimedProcess {
  readonly seconds: number;
  readonly code: number | null;
  /** stdout, then stderr. */
  readonly output: string;
}

/** Runs a program to its end, without a shell; the time is that until it exits. */
export async function timeProcess(
  program: string,
  words: readonly string[],
  options: { readonly cwd?: string; readonly env?: Readonly<Record<string, string>> } = {},
): Promise<TimedProcess> {
  const begun = performance.now();
  const env = { ...process.env, ...options.env };
  const child = spawn(program, words, { ...options, env, stdio: ['ignore', 'pipe', 'pipe'] });
  const texts = Promise.all([buffer(child.stdout), buffer(child.stderr)]);
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject).on('exit', resolve);
  });
  const seconds = (performance.now() - begun) / 1000;
  return { seconds, code, output: (await texts).join('') };
}

/** Clock ticks a second in /proc, on every Linux of today. */
const ticks = 100;

/** Seconds of processor time of all programs that this process has started and that have ended. */
export function spentByChildren(): number {
  const text = readFileSync('/proc/self/stat', 'latin1');
  // After its name, which may contain anything: cutime and cstime.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const [user = 0, system = 0] = fields.slice(13, 15).map(Number);
  return (user + system) / ticks;
}
