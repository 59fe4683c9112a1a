import type { Machine } from '../../../../sandbox/machine.ts';
import { installedText } from '../../../../src/adapters/agent/installed-text.ts';
import { hostProgram } from '../../../../src/generated/host-program.ts';
import { shell } from '../../lib/worker.ts';

export const AGENT = '/usr/local/lib/celeriac/agent';
export const POLICY = '/etc/celeriac/policy.json';

/** A line of the protocol, or one that is too long to be sent from here. */
export type Line =
  | string
  | readonly [before: string, repeated: string, times: number, after: string];

export interface Heard {
  readonly hello: Readonly<Record<string, unknown>>;
  /** One for each line; `null`: the agent ended the session. */
  readonly answers: readonly (Readonly<Record<string, unknown>> | null)[];
}

/** Speaks the protocol by hand, through the line of sudoers. Each list of lines is a session. */
const CLIENT = `
import json, os, subprocess, sys, threading

heard = []
for lines in json.load(sys.stdin):
    argv = ['runuser', '-u', sys.argv[1], '--', 'sudo', '-n', '${AGENT}']
    environment = {'PATH': '/usr/sbin:/usr/bin:/sbin:/bin', 'SSH_ORIGINAL_COMMAND': '/bin/sh'}
    agent = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
    limit = threading.Timer(120, agent.kill)
    limit.start()
    session = {'hello': json.loads(agent.stdout.readline()), 'answers': []}
    for line in lines:
        if not isinstance(line, str):
            before, repeated, times, after = line
            line = before + repeated * times + after
        try:
            agent.stdin.write(line.encode() + b'\\n')
            agent.stdin.flush()
        except BrokenPipeError:
            pass
        answer = agent.stdout.readline()
        while answer and 'progress' in json.loads(answer):
            answer = agent.stdout.readline()
        session['answers'].append(json.loads(answer) if answer else None)
    try:
        agent.stdin.close()
    except BrokenPipeError:
        pass
    agent.wait()
    limit.cancel()
    heard.append(session)
print(json.dumps(heard))
`;

/** @returns what the agent said, one for each session */
export async function speak(
  machine: Machine,
  sessions: readonly (readonly Line[])[],
  user = 'celeriac',
): Promise<readonly Heard[]> {
  await machine.writeFile('/run/hardened-client.py', CLIENT);
  const { stdout } = await machine.run(`python3 -I /run/hardened-client.py ${user}`, {
    input: JSON.stringify(sessions),
    timeoutSeconds: 600,
  });
  return JSON.parse(stdout) as Heard[];
}

/** The app under a user of its own, and hardened mode as docs/reference/policy.md describes it. */
export async function hardenByHand(
  machine: Machine,
  policy: Readonly<Record<string, unknown>>,
): Promise<void> {
  await shell(machine, 'mkdir -p /etc/celeriac /usr/local/lib/celeriac');
  await machine.writeFile(AGENT, installedText(hostProgram, '/usr/bin/python3'), '0755');
  await machine.writeFile(POLICY, `${JSON.stringify(policy, null, 2)}\n`, '0644');
  const users = ['celeriac', 'celeriac-plan'];
  const rule = users.map((user) => `${user} ALL=(root) NOPASSWD: ${AGENT} ""\n`).join('');
  await machine.writeFile('/etc/sudoers.d/celeriac-key', rule, '0440');
  await shell(machine, 'visudo -c');
  for (const user of users) await shell(machine, `useradd --system --create-home ${user}`);
}
