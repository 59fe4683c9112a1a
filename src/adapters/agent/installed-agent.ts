import { HostError } from '../../model/errors.ts';
import type { Hello } from '../../model/outcome.ts';
import { lastLines } from '../last-lines.ts';
import { PROTOCOL } from './agent-lines.ts';
import type { AgentKind } from './agent-options.ts';
import { START_STEP } from './agent-start.ts';
import { explainStart, type StartEvidence } from './explain-start.ts';

/**
 * What is asked of sshd: it does not matter, because the key is bound to the agent. A shell that reads
 * it nevertheless has no such command.
 */
export const installedCommand = 'celeriac-agent';

interface Target {
  readonly host: string;
  readonly user: string;
}

const hardenAgain = (host: string): string =>
  `the owner of the server runs \`celeriac harden --host ${host}\` again, as root: this key cannot install an agent`;

/**
 * Whether the agent that said hello is the expected one and speaks the same protocol.
 *
 * @throws HostError
 */
export function checkHello(hello: Hello, kind: AgentKind, { host, user }: Target): void {
  if (kind === 'streamed' && hello.kind === 'installed') {
    throw refusal(
      `the key of ${user} runs the agent that is installed on ${host}, so none was sent`,
      'set the input `agent` to `installed`, or use another key',
    );
  }
  if (kind === 'installed' && hello.kind === 'streamed') {
    throw refusal(
      `the login of ${user} on ${host} runs an agent that has no policy`,
      hardenAgain(host),
    );
  }
  if (hello.protocol !== PROTOCOL) {
    const which = hello.kind === 'installed' ? ` ${hello.version}` : '';
    throw refusal(
      `the agent${which} that is installed on ${host} speaks version ${hello.protocol} of the protocol, this Celeriac version ${PROTOCOL}`,
      hello.protocol < PROTOCOL
        ? hardenAgain(host)
        : `use a newer Celeriac in the workflow; ${hardenAgain(host)}`,
    );
  }
}

const refusal = (message: string, next: string): HostError =>
  new HostError(message, { step: START_STEP, evidence: [], next });

interface Rule {
  readonly pattern: RegExp;
  readonly problem: (evidence: StartEvidence, match: RegExpExecArray) => string;
  /** Absent: the owner hardens the host again. */
  readonly next?: (evidence: StartEvidence) => string;
}

/** The first match wins. What a shell or sudo says never leads to more rights for the key. */
const rules: readonly Rule[] = [
  {
    pattern: /^celeriac: (.+)$/m,
    problem: (_, match) => match[1] ?? '',
    next: () => 'see `journalctl -t celeriac` on the server',
  },
  {
    pattern:
      /celeriac-agent: (?:command )?not found|command not found: celeriac-agent|Unknown command:? '?celeriac-agent/i,
    problem: ({ user }) => `the login of ${user} is a shell: its key is not bound to the agent`,
  },
  {
    pattern: /sudo: \S*agent: command not found|agent: No such file or directory/,
    problem: ({ host }) => `${host} has no installed agent`,
  },
  {
    pattern: /must have a tty/,
    problem: ({ user }) => `sudo requires a terminal for ${user}, which its key never gets`,
    next: ({ user }) => `put \`Defaults:${user} !requiretty\` in /etc/sudoers (\`visudo\`)`,
  },
  {
    pattern: /password is required|terminal is required|not allowed to execute|not in the sudoers/,
    problem: ({ user }) => `sudo does not let ${user} run it`,
  },
  {
    pattern: /^(?:\S+: )?(?:line \d+: |\d+: )?sudo: (.+)$/m,
    problem: ({ user }, match) => `sudo refused ${user}: ${match[1]}`,
  },
  {
    pattern: /bad interpreter|env: .*No such file/i,
    problem: ({ host }) => `the Python that it was installed with is gone on ${host}`,
  },
];

/** Explains why there was no hello of the installed agent. */
export function explainInstalledStart(evidence: StartEvidence): HostError {
  const text = `${evidence.stderr}\n${evidence.stdout}`;
  for (const { pattern, problem, next } of rules) {
    const match = pattern.exec(text);
    if (match === null) continue;
    return new HostError(`the installed agent could not be started: ${problem(evidence, match)}`, {
      step: START_STEP,
      ran: [installedCommand],
      exitCode: evidence.ended.kind === 'exit' ? evidence.ended.code : null,
      evidence: lastLines(text, 10).map((line) => line.slice(0, 300)),
      undone: [],
      next: next?.(evidence) ?? hardenAgain(evidence.host),
    });
  }
  return explainStart(evidence);
}
