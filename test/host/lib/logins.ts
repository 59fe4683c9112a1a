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

/** What the work cost in logins, by sshd's own journal; this machine's own connection is not new. */
export async function countLogins<Result>(
  machine: Machine,
  user: User,
  work: () => Promise<Result>,
): Promise<{ readonly result: Result; readonly logins: Logins }> {
  const shown = await machine.run('journalctl -t sshd -n 1 --show-cursor -o cat');
  const cursor = /^-- cursor: (.+)$/m.exec(shown.stdout)?.[1];
  if (cursor === undefined) throw new Error("sshd's journal has no cursor");
  const result = await work();
  await machine.run('journalctl --sync');
  const after = await machine.run(`journalctl -t sshd -o cat --after-cursor '${cursor}'`);
  const lines = after.stdout.split('\n');
  const count = (pattern: RegExp) => lines.filter((line) => pattern.test(line)).length;
  const accepted = new RegExp(`^Accepted publickey for ${user} from \\S+ port (\\d+) `);
  const ports = lines.flatMap((line) => accepted.exec(line)?.[1] ?? []);
  const from = `from \\S+ port (?:${ports.join('|') || 'none'}) `;
  return {
    result,
    logins: {
      accepted: ports.length,
      commands: count(new RegExp(`^Starting session: .* ${from}`)),
      failed: count(/^(?:Failed |Connection closed by authenticating)/),
    },
  };
}
