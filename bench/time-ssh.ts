import { timeProcess } from './time-process.ts';

/** How OpenSSH gets to a host. */
export interface SshTarget {
  readonly host: string;
  readonly port: number;
  readonly keyPath: string;
  readonly knownHostsPath: string;
}

/** Options of OpenSSH for a login that depends on nothing of this machine, as words. */
export function sshOptions({ port, keyPath, knownHostsPath }: SshTarget): readonly string[] {
  const options = {
    Port: port,
    IdentityFile: keyPath,
    IdentitiesOnly: 'yes',
    UserKnownHostsFile: knownHostsPath,
    GlobalKnownHostsFile: '/dev/null',
    BatchMode: 'yes',
    LogLevel: 'ERROR',
  };
  const flags = Object.entries(options).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
  return ['-F', '/dev/null', ...flags];
}

/** Seconds of `ssh host true` over a new connection, with OpenSSH's defaults. */
export async function timeSsh(target: SshTarget): Promise<number> {
  const words = [...sshOptions(target), `root@${target.host}`, 'true'];
  const { seconds, code, output } = await timeProcess('ssh', words);
  if (code !== 0) throw new Error(`ssh failed with exit code ${code}: ${output}`);
  return seconds;
}
