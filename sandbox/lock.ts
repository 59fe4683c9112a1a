import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { SandboxError } from './failure.ts';

/**
 * Runs `body` while holding the lock on `path`. A child that reads a pipe from this process holds
 * it, so the lock is dropped however this process ends.
 *
 * @throws SandboxError when flock (util-linux) is missing.
 */
export async function withLock<T>(
  path: string,
  onWait: () => void,
  body: () => Promise<T>,
): Promise<T> {
  const holder = spawn('flock', ['--exclusive', path, 'sh', '-c', 'echo held; exec cat'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const held = once(holder.stdout, 'data');
  const failed = new Promise<never>((_, reject) => {
    holder.on('error', () => {
      reject(new SandboxError('flock is not installed (package util-linux)'));
    });
    holder.on('exit', (code) => {
      reject(new SandboxError(`cannot lock ${path}: flock failed with exit code ${code}`));
    });
  });
  failed.catch(() => {});
  const impatient = setTimeout(onWait, 500);
  try {
    await Promise.race([held, failed]);
  } finally {
    clearTimeout(impatient);
  }
  try {
    return await body();
  } finally {
    holder.stdin.end();
    await once(holder, 'close');
  }
}
