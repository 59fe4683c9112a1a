import type { Machine, User } from '../../../sandbox/machine.ts';

/** Has sshd tell of every command that it starts. */
export async function watchLogins(machine: Machine): Promise<void> {
  await machine.writeFile('/etc/ssh/sshd_config.d/test.conf', 'LogLevel VERBOSE\n');
  await machine.run('systemctl reload ssh');
}

export interface Logins {
  readonly accepted: number;
  /** Commands and shells that those who were let in started. */
  readonly commands: number;
  readonly failed: number;
}

/** What sshd wrote to its journal while the work was done. */
export async function watchSshd<Result>(
  machine: Machine,
  work: () => Promise<Result>,
): Promise<{ readonly result: Result; readonly lines: readonly string[] }> {
  const shown = await machine.run('journalctl -t sshd -n 1 --show-cursor -o cat');
  const cursor = /^-- cursor: (.+)$/m.exec(shown.stdout)?.[1];
  if (cursor === undefined) throw new Error("sshd's journal has no cursor");
  const result = await work();
  await machine.run('journalctl --sync');
  const after = await machine.run(`journalctl -t sshd -o cat --after-cursor '${cursor}'`);
  return { result, lines: after.stdout.split('\n') };
}

export const countLines = (lines: readonly string[], pattern: RegExp): number =>
  lines.filter((line) => pattern.test(line)).length;

/** What the work cost in logins, by sshd's own journal; this machine's own connection is not new. */
export async function countLogins<Result>(
  machine: Machine,
  user: User,
  work: () => Promise<Result>,
): Promise<{ readonly result: Result; readonly logins: Logins }> {
  const { result, lines } = await watchSshd(machine, work);
  const accepted = new RegExp(`^Accepted publickey for ${user} from \\S+ port (\\d+) `);
  const ports = lines.flatMap((line) => accepted.exec(line)?.[1] ?? []);
  const from = `from \\S+ port (?:${ports.join('|') || 'none'}) `;
  return {
    result,
    logins: {
      accepted: ports.length,
      commands: countLines(lines, new RegExp(`^Starting session: .* ${from}`)),
      failed: countLines(lines, /^(?:Failed |Connection closed by authenticating)/),
    },
  };
}
