import { HostError } from '../../model/errors.ts';
import { lastLines } from '../last-lines.ts';
import { START_STEP } from './agent-start.ts';

/** Why an agent that was started did not say hello, and what to do about it. */

/** What is known about a start without a hello. */
export interface StartEvidence {
  readonly host: string;
  readonly user: string;
  readonly stdout: string;
  readonly stderr: string;
  /** `timed-out` and `noise`: it was still running. */
  readonly ended:
    | { readonly kind: 'exit'; readonly code: number | null; readonly signal: string | null }
    | { readonly kind: 'timed-out'; readonly seconds: number }
    | { readonly kind: 'noise'; readonly limitBytes: number };
}

interface Explanation {
  readonly problem: string;
  readonly next: string;
}

interface Rule {
  readonly pattern: RegExp;
  readonly explain: (evidence: StartEvidence, match: RegExpExecArray) => Explanation;
}

const sudoersLine = (user: string) =>
  `\`${user} ALL=(root) NOPASSWD: ALL\` in /etc/sudoers.d/celeriac (\`visudo -f\`), or log in as root`;

/** The first match wins, so the most specific line comes first. */
const RULES: readonly Rule[] = [
  {
    pattern: /celeriac: python (\S+) is too old/,
    explain: ({ host }, match) => ({
      problem: `the Python of ${host} is too old: expected 3.8 or newer, found ${match[1]}`,
      next: 'install Python 3.8 or newer as `python3` on the server',
    }),
  },
  {
    pattern: /No space left on device|Disk quota exceeded/i,
    explain: ({ host }) => ({
      problem: `the disk of ${host} is full`,
      next: 'free disk space on the server (`df -h`, `df -i`, `journalctl --vacuum-size=200M`)',
    }),
  },
  {
    pattern: /sudo: (a password is required|.*password is required)|sudo: a terminal is required/,
    explain: ({ user }) => ({
      problem: `${user} may not use sudo without a password`,
      next: `\`sudo -n true\` must work for ${user}: put ${sudoersLine(user)}`,
    }),
  },
  {
    pattern: /is not in the sudoers file|is not allowed to (execute|run sudo)|may not run sudo/,
    explain: ({ user }) => ({
      problem: `${user} is not allowed to use sudo`,
      next: `\`sudo -n true\` must work for ${user}: put ${sudoersLine(user)}`,
    }),
  },
  {
    pattern: /sudo: .*(must have a tty|no tty present)/,
    explain: ({ user }) => ({
      problem: `sudo requires a terminal for ${user}`,
      next: `put \`Defaults:${user} !requiretty\` into /etc/sudoers.d/celeriac (\`visudo -f\`)`,
    }),
  },
  {
    pattern:
      /sudo: (command )?not found|command not found: sudo|Unknown command:? '?sudo|sudo: Command not found|sudo: No such file/i,
    explain: ({ user }) => ({
      problem: `${user} is not root, and the server has no sudo`,
      next: 'install sudo on the server (`apt-get install sudo`) and allow it, or log in as root',
    }),
  },
  {
    pattern:
      /python3: (command )?not found|command not found: python3|Unknown command:? '?python3|python3: Command not found|python3: No such file/i,
    explain: ({ host }) => ({
      problem: `${host} has no python3`,
      next: 'install it on the server: `apt-get install python3-minimal` (Debian, Ubuntu) or `dnf install python3`',
    }),
  },
  {
    pattern: /^sudo: (.+)$/m,
    explain: ({ user }, match) => ({
      problem: `sudo refused ${user}: ${match[1]}`,
      next: `\`sudo -n true\` must work for ${user}: put ${sudoersLine(user)}`,
    }),
  },
  {
    pattern: /account (has expired|is expired|expired)|password has expired|password expired/i,
    explain: ({ user }) => ({
      problem: `the account ${user}, or its password, has expired`,
      next: `see \`chage -l ${user}\` on the server; \`chage -E -1 -M -1 ${user}\` lifts both`,
    }),
  },
  {
    pattern: /System is (going down|booting up)|Unprivileged users are not permitted to log in/i,
    explain: ({ host }) => ({
      problem: `${host} refuses logins at the moment: it is booting or shutting down`,
      next: 'run again once it is up: it refuses logins while /run/nologin exists',
    }),
  },
  {
    pattern: /account is currently not available|This account is not available|nologin/i,
    explain: ({ user }) => ({
      problem: `${user} has no login shell`,
      next: `give it one (\`usermod -s /bin/bash ${user}\`), or set the input \`user\` to another account`,
    }),
  },
  {
    pattern: /sftp connections only|unrecognized command|restricted|only .* (is|are) allowed/i,
    explain: ({ user }) => ({
      problem: `the login of ${user} runs a fixed command instead of the requested one`,
      next: 'look for `command="…"` in authorized_keys and `ForceCommand` in sshd_config; use a key without a fixed command',
    }),
  },
  {
    pattern: /Cannot allocate memory|MemoryError|Resource temporarily unavailable|unable to fork/i,
    explain: ({ host }) => ({
      problem: `${host} is out of memory or processes`,
      next: 'free some on the server (`free -h`, `ps aux --sort=-rss | head`)',
    }),
  },
  {
    pattern: /^(\w*(?:Error|Exception)\b.*)$/m,
    explain: ({ host }, match) => ({
      problem: `the agent did not start on ${host}: ${match[1]}`,
      next: 'run `python3 -I -S -c "import json, zlib, sqlite3"` on the server: its Python may be incomplete',
    }),
  },
];

/** Explains why there was no hello, from stderr, stdout and how the process ended. */
export function explainStart(evidence: StartEvidence): HostError {
  const { problem, next } = findExplanation(evidence);
  const lines = [
    ...lastLines(evidence.stderr, 10),
    ...lastLines(evidence.stdout, 10).map((line) => `stdout: ${line}`),
  ].map((line) => line.slice(0, 300));
  return new HostError(`the agent could not be started: ${problem}`, {
    step: START_STEP,
    ran: evidence.user === 'root' ? ['python3'] : ['sudo', '-n', 'python3'],
    exitCode: evidence.ended.kind === 'exit' ? evidence.ended.code : null,
    evidence: lines,
    undone: [],
    next,
  });
}

function findExplanation(evidence: StartEvidence): Explanation {
  for (const source of [evidence.stderr, evidence.stdout]) {
    for (const rule of RULES) {
      const match = rule.pattern.exec(source);
      if (match !== null) return rule.explain(evidence, match);
    }
  }
  return explainEnd(evidence);
}

function explainEnd(evidence: StartEvidence): Explanation {
  const { ended, host, user } = evidence;
  const python = user === 'root' ? 'python3' : 'sudo -n python3';
  if (ended.kind === 'timed-out') {
    return {
      problem: `${host} did not start it within ${ended.seconds} s`,
      next: `check whether \`ssh ${user}@${host} ${python} -V\` answers at once: a login script may wait for input, or the server is overloaded`,
    };
  }
  if (ended.kind === 'noise') {
    return {
      problem: `the login of ${user} prints more than ${ended.limitBytes} bytes before any command`,
      next: 'let its login scripts (.bashrc, .profile, /etc/profile.d) print nothing when there is no terminal',
    };
  }
  if (ended.code === 127 || ended.code === 126) {
    return {
      problem: `${host} cannot run \`${python}\` (exit code ${ended.code})`,
      next: 'install python3 (and sudo, unless the user is root) on the server',
    };
  }
  if (ended.code === null) {
    return {
      problem: `it was killed on ${host} before it started${ended.signal === null ? '' : ` (${ended.signal})`}`,
      next: 'look for the out-of-memory killer, or a policy that kills it, in the journal of the server',
    };
  }
  return {
    problem: `the login of ${user} ended with exit code ${ended.code} without running \`${python}\``,
    next: `look for a forced command in authorized_keys, a login shell such as /bin/false, or an \`exit\` in a login script: \`ssh ${user}@${host} ${python} -V\` should print a version`,
  };
}
