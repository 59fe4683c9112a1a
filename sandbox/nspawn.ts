import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { digest } from './folders.ts';
import { asRoot } from './privilege.ts';
import { runOver, type Target, waitForLogin } from './ssh.ts';

// Ten times what it takes, and more: a busy builder is no reason to fail.
export const BOOT_SECONDS = 180;

/** A container that boots: its supervisor's process id, and its address. */
export type Booted = { pid: number; host: string };

/**
 * Starts a container whose files are in `folder`, over these layers, the top one first.
 *
 * @param ownerPid the process that it ends with; absent: it stays
 * @param diskMegabytes what it may write; memory of this machine, as far as it is used
 * @throws SandboxError with the words of what failed.
 */
export async function launchContainer(
  folder: string,
  layers: readonly string[],
  ownerPid: number | undefined,
  diskMegabytes = 3072,
): Promise<Booted> {
  const near = Number.parseInt(digest(folder).slice(0, 8), 16) % 32768;
  const words = [folder, layers.join(':'), near, ownerPid ?? 0, `${diskMegabytes}M`].map(String);
  const { stdout } = await asRoot('start', words);
  const [pid = '', host = ''] = stdout.trim().split(' ');
  return { pid: Number(pid), host };
}

/** Waits until it is as a host that was started minutes ago. */
export async function waitUntilSettled(target: Target): Promise<void> {
  await waitForLogin(target, BOOT_SECONDS);
  await runOver(target, 'root', 'shared', SETTLE, { timeoutSeconds: BOOT_SECONDS });
}

// A unit that a state has broken is no reason to wait.
const SETTLE = `
  systemctl is-system-running --wait >/dev/null
  for i in $(seq 200); do curl -sf http://127.0.0.1/api/health >/dev/null && exit 0; sleep 0.1; done
  curl -sSf http://127.0.0.1/api/health
`;

/** The last lines of its console, to be put under a message; empty when there are none. */
export function lastWords(folder: string): string {
  try {
    const lines = readFileSync(join(folder, 'console.log'), 'utf8').trim().split('\n').slice(-8);
    return `\n  the host's console ends with:\n    ${lines.join('\n    ')}`;
  } catch {
    return '';
  }
}
