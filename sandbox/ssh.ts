import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { type CommandOptions, type CommandResult, execute, sleep } from './command.ts';
import { SandboxError } from './failure.ts';

/** How to reach a machine. */
export type Target = {
  host: string;
  port: number;
  keyPath: string;
  knownHostsPath: string;
  /** Folder for the sockets of open connections, one per user. */
  socketFolder: string;
  /** Changes with every QEMU, so that a connection to an earlier one is never reused. */
  generation: number;
};

const SSH_MISSING = 'ssh is not installed (package openssh-client)';

/** `shared`: over the connection that stays open; `own`: a separate login. */
export type Connection = 'shared' | 'own';

/** The arguments of `ssh` up to and including the destination. */
export function sshArguments(target: Target, user: string, connection: Connection): string[] {
  const options = {
    Port: target.port,
    IdentityFile: target.keyPath,
    IdentitiesOnly: 'yes',
    UserKnownHostsFile: target.knownHostsPath,
    GlobalKnownHostsFile: '/dev/null',
    StrictHostKeyChecking: 'yes',
    UpdateHostKeys: 'no',
    BatchMode: 'yes',
    LogLevel: 'ERROR',
    ConnectTimeout: 20,
    // A cable may be unplugged for a while, but a connection to a host that is gone must end.
    ServerAliveInterval: 30,
    ServerAliveCountMax: 6,
    // The cheapest algorithms for an emulated processor.
    HostKeyAlgorithms: 'ssh-ed25519',
    KexAlgorithms: 'curve25519-sha256',
    Ciphers: 'aes128-gcm@openssh.com,chacha20-poly1305@openssh.com',
    ...(connection === 'shared'
      ? {
          ControlMaster: 'auto',
          ControlPath: join(target.socketFolder, `${user}.${target.generation}`),
          ControlPersist: 600,
        }
      : { ControlMaster: 'no', ControlPath: 'none' }),
  };
  return [
    ...['-F', '/dev/null'],
    ...Object.entries(options).flatMap(([name, value]) => ['-o', `${name}=${value}`]),
    `${user}@${target.host}`,
  ];
}

/** Runs a command line in the user's login shell. Exit code 255 may be that of ssh itself. */
export async function runOver(
  target: Target,
  user: string,
  connection: Connection,
  command: string,
  options: CommandOptions,
): Promise<CommandResult> {
  return await execute('ssh', [...sshArguments(target, user, connection), '--', command], {
    missing: SSH_MISSING,
    ...options,
  });
}

/**
 * Opens root's shared connection and sets the guest's clock, which is still at the time of the
 * snapshot; also adds new randomness.
 */
export async function connectAndSetClock(target: Target): Promise<void> {
  const command =
    'echo ready; read -r now seed; date --utc --set="@$now" >/dev/null && echo "$seed" >/dev/urandom';
  // The first value counts. It is the guest's first login, and the machine may be busy.
  const patience = ['-o', 'ConnectTimeout=180'];
  const args = [...patience, ...sshArguments(target, 'root', 'shared'), '--', command];
  const child = spawn('ssh', args, { stdio: ['pipe', 'pipe', 'pipe'] });
  let complaint = '';
  child.stderr.on('data', (chunk: Buffer) => {
    complaint += chunk.toString();
  });
  child.stdin.on('error', () => {});
  // The time is read only now, because the handshake takes a while.
  child.stdout.once('data', () => {
    child.stdin.end(`${Date.now() / 1000} ${randomBytes(32).toString('hex')}\n`);
  });
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on('error', () => reject(new SandboxError(SSH_MISSING)));
    child.on('exit', resolve);
  });
  if (code !== 0) {
    throw new SandboxError(`could not set the clock of the machine: ${complaint.trim()}`);
  }
}

/**
 * Waits until root and all other users can log in; returns the id of this boot.
 *
 * @throws SandboxError after `timeoutSeconds`, with ssh's last error.
 */
export async function waitForLogin(
  target: Target,
  timeoutSeconds: number,
  previousBootId?: string,
): Promise<string> {
  const deadline = Date.now() + timeoutSeconds * 1000;
  const question = 'test ! -e /run/nologin && cat /proc/sys/kernel/random/boot_id';
  // Longer each time: more and more callers would slow down a guest that is slow to answer.
  let patience = 1;
  for (;;) {
    // A cheap check: QEMU accepts connections long before the guest does.
    while (!(await greets(target, patience)) && Date.now() < deadline) {
      patience = Math.min(10, patience * 1.4);
      await sleep(0.25);
    }
    const { code, stdout, stderr } = await runOver(target, 'root', 'own', question, {
      allowFailure: true,
      timeoutSeconds: 60,
    });
    if (code === 0 && stdout.trim() !== previousBootId) return stdout.trim();
    if (Date.now() > deadline) {
      throw new SandboxError(
        `could not log in within ${timeoutSeconds} s: ${stderr.trim() || `exit code ${code}`}`,
      );
    }
    await sleep(0.25);
  }
}

/** Whether an SSH server sends its greeting within these seconds. */
function greets({ host, port }: Target, seconds: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host, timeout: seconds * 1000 });
    socket.once('data', (data) => {
      resolve(data.toString('latin1').startsWith('SSH-'));
      socket.destroy();
    });
    socket.once('timeout', () => socket.destroy());
    socket.once('error', () => {});
    socket.once('close', () => resolve(false));
  });
}

/** Closes the shared connections, so that none survives into the next boot. */
export async function closeShared(target: Target): Promise<void> {
  for (const user of ['root', 'deploy', 'nosudo']) {
    const path = join(target.socketFolder, `${user}.${target.generation}`);
    if (existsSync(path)) {
      const args = ['-F', '/dev/null', '-o', `ControlPath=${path}`, '-O', 'exit', target.host];
      await execute('ssh', args, { allowFailure: true });
    }
  }
}
