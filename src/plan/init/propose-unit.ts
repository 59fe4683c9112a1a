import type { WorkerOption } from '../../celery/worker-options.ts';
import { quote } from '../../report/shell-commands.ts';
import { quoteExecWord, quoteWord } from '../../systemd/exec-line.ts';
import { holdsPassword, namesSecret } from '../../systemd/secrets.ts';
import { describeStarter, type LooseWorker } from './find-workers.ts';
import type { Reach } from './fleet-text.ts';
import { sshWords } from './reach-words.ts';
import { stopSteps } from './stop-steps.ts';

/** A unit for a worker that runs without one, and how to go over to it. */
export interface UnitProposal {
  /** `celery-worker.service`. */
  readonly name: string;
  readonly text: string;
  /** Variables of the process that the unit has to read from a file, by their names. */
  readonly variables: readonly string[];
  /** What was left out of the command line, and why. */
  readonly notes: readonly string[];
  /** For a person at the server, one step each. */
  readonly steps: readonly string[];
}

/** Why no unit can be proposed; completes "no unit can be proposed for process 12: …". */
export interface NoProposal {
  readonly problem: string;
}

/** What a proposed unit may be called: the first that is free on the host. */
export const proposedNames: readonly string[] = ['', '-2', '-3', '-4', '-5'].map(
  (suffix) => `celery-worker${suffix}.service`,
);

/** What a unit is proposed for. */
export interface UnitRequest {
  readonly worker: LooseWorker;
  /** It, and its copies: one unit replaces them all. */
  readonly copies: readonly LooseWorker[];
  /** One of `proposedNames` that is free; `null`: all are taken. */
  readonly name: string | null;
  /** How a person logs in, to copy it there. */
  readonly reach: Reach;
}

const pathOf = (name: string): string => `/etc/systemd/system/${name}`;
const variablesOf = (name: string): string => `/etc/${name.replace(/\.service$/, '.env')}`;

/**
 * Variables that a login, a shell, a multiplexer or systemd sets, and those of the user and the program
 * search path, which the unit has by other settings.
 */
const ofTheSession =
  /^(?:_|PWD|OLDPWD|SHLVL|SHELL|TERM(?:_.*|INFO|CAP)?|COLOR(?:TERM|FGBG)|COLUMNS|LINES|DISPLAY|XAUTHORITY|MAIL|LOGNAME|USER|USERNAME|HOME|PATH|LANG|LANGUAGE|LC_.*|LS_(?:COLORS|OPTIONS)|LESS.*|PAGER|EDITOR|VISUAL|HIST.*|PS1|PS2|MOTD_SHOWN|SSH_.*|SUDO_.*|XDG_.*|DBUS_.*|TMUX.*|STY|WINDOW(?:ID)?|SCREEN(?:DIR|RC)|BYOBU_.*|ZELLIJ.*|VTE_VERSION|GPG_(?:TTY|AGENT_INFO)|VIRTUAL_ENV.*|INVOCATION_ID|JOURNAL_STREAM|MANAGERPID|SYSTEMD_.*|NOTIFY_SOCKET|LISTEN_.*|WATCHDOG_.*|MEMORY_PRESSURE_.*|CREDENTIALS_DIRECTORY|SUPERVISOR_.*|FORKED_BY_MULTIPROCESSING|CELERY_LOG_.*|_MP_FORK_.*)$/;

/** Proposes a unit from the running process; nothing about it is made up. */
export function proposeUnit(request: UnitRequest): UnitProposal | NoProposal {
  const { worker, name } = request;
  const { process, call, start, starter } = worker;
  if (name === null) {
    return { problem: `units of the names ${proposedNames.join(', ')} are there already` };
  }
  if (start === null) return { problem: 'it has ended in the meantime' };
  const directory = process.workingDirectory;
  if (directory === null || / \(deleted\)$/.test(directory)) {
    return {
      problem: 'the folder in which it was started is gone; restart it from the new one first',
    };
  }
  if (call.app === null) return { problem: 'its command does not name the app (-A)' };
  const program = start.program ?? (isPath(process.argv[0]) ? process.argv[0] : null);
  if (program === null) {
    return {
      problem: `its program, ${process.argv[0]}, is not a path, and its environment does not show where it is`,
    };
  }
  const { argv, notes } = commandOf(worker, program);
  const secret = argv.find((word) => holdsPassword(word));
  if (secret !== undefined) {
    return {
      problem:
        'its command line contains a password, which every user of the server can read; move it to the settings of the app or to a variable, and restart it',
    };
  }
  if ([directory, process.user, ...argv].some(breaksLine)) {
    return {
      problem: 'its command line or its folder contains characters that a unit cannot have',
    };
  }
  const variables = start.variables.filter((name) => !ofTheSession.test(name));
  const { group } = start;
  const text = [
    `# Proposed by \`celeriac init\` from process ${process.pid}, ${describeStarter(starter)}.`,
    '[Unit]',
    `Description=Celery worker of ${call.app.replace(/%/g, '%%')}`,
    'Wants=network-online.target',
    'After=network-online.target redis-server.service redis.service rabbitmq-server.service postgresql.service',
    '# Beyond it, systemd gives up.',
    'StartLimitIntervalSec=300',
    'StartLimitBurst=5',
    '',
    '[Service]',
    'Type=simple',
    `User=${process.user}`,
    ...(group === null || group === process.user ? [] : [`Group=${group}`]),
    `WorkingDirectory=${directory.replace(/%/g, '%%')}`,
    ...(variables.length === 0
      ? []
      : [`# Holds the variables ${variables.join(', ')}.`, `EnvironmentFile=${variablesOf(name)}`]),
    ...pathLine(start.open.PATH),
    `ExecStart=${argv.map(quoteExecWord).join(' ')}`,
    'Restart=always',
    'RestartSec=10',
    '# TERM goes to the main process alone: it stops once its tasks are done.',
    'KillMode=mixed',
    '# The longest task (15 min) and a minute.',
    'TimeoutStopSec=960',
    '',
    '[Install]',
    'WantedBy=multi-user.target',
    '',
  ].join('\n');
  return { name, text, variables, notes, steps: stepsOf(request, name, { variables, program }) };
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what it must not contain.
const breaksLine = (text: string): boolean => /[\u0000-\u001f\u007f\u2028\u2029]/.test(text);

const isPath = (word: string | undefined): word is string => word?.startsWith('/') === true;

/** Programs that tasks start are found as they are now. */
const pathLine = (path: string | undefined): readonly string[] =>
  path === undefined || !/^[A-Za-z0-9_./:+-]+$/.test(path)
    ? []
    : [`Environment=${quoteWord(`PATH=${path}`)}`];

/** The command without what only a worker without a unit needs. */
function commandOf(
  { process, call }: LooseWorker,
  program: string,
): { readonly argv: readonly string[]; readonly notes: readonly string[] } {
  const dropped = call.options.file.filter(({ prefix }) => prefix.startsWith('--pidfile'));
  const isDropped = (at: number): boolean =>
    dropped.some(({ first, last }: WorkerOption) => at >= first && at <= last);
  const purges = process.argv.some((word) => word === '--purge' || word === '--discard');
  const argv = process.argv.filter(
    (word, at) => !isDropped(at) && word !== '--purge' && word !== '--discard',
  );
  return {
    argv: [program, ...argv.slice(1)],
    notes: [
      ...(dropped.length > 0
        ? [
            '--pidfile is left out: systemd knows the process, and a file left by a crash would keep the worker from starting',
          ]
        : []),
      ...(purges
        ? ['--purge is left out: with a unit, each restart would delete all waiting tasks']
        : []),
    ],
  };
}

function stepsOf(
  { worker, copies, reach }: UnitRequest,
  name: string,
  { variables, program }: { readonly variables: readonly string[]; readonly program: string },
): readonly string[] {
  const { pid } = worker.process;
  // It never replaces a file that is there.
  const write = `set -C; cat >${pathOf(name)}`;
  const asRoot = reach.user === 'root' ? write : `sudo sh -c ${quote(write)}`;
  const ask = askOf(worker, program, variables.length === 0 ? null : variablesOf(name));
  return [
    `copy the file to the server: \`ssh ${sshWords(reach)} ${quote(asRoot)} <${name}\``,
    ...(variables.length === 0 ? [] : [copyVariables(pid, variables, variablesOf(name))]),
    `check it there: \`systemd-analyze verify ${pathOf(name)}\``,
    ...stopSteps(copies, ask),
    `\`systemctl daemon-reload && systemctl enable --now ${name}\`, then \`systemctl status ${name}\``,
    'run `celeriac init` again: it finds the unit, and writes the rest',
  ];
}

/** Runs Celery's own commands as the worker runs: a command to which their words are added. */
function askOf({ process, call }: LooseWorker, program: string, variables: string | null): string {
  const properties = [
    `User=${process.user}`,
    `WorkingDirectory=${process.workingDirectory}`,
    ...(variables === null ? [] : [`EnvironmentFile=${variables}`]),
  ];
  const before = call.wrapper.length + call.program.length;
  return [
    'systemd-run --quiet --pipe --wait --collect',
    ...properties.map((property) => `-p ${quote(property)}`),
    ...[program, ...process.argv.slice(1, before), '-A', call.app ?? ''].map(quote),
  ].join(' ');
}

/** Values go from the process to the file, and are shown nowhere. */
function copyVariables(pid: number, variables: readonly string[], path: string): string {
  const secret = variables.some(namesSecret) ? ', which may be secret' : '';
  const escaped = `sed -z -e 's/[\\\\"$\`]/\\\\&/g' -e 's/=/="/' -e 's/$/"/'`;
  const command = `(umask 077; set -C; grep -zE '^(${variables.join('|')})=' /proc/${pid}/environ | ${escaped} | tr '\\0' '\\n' >${path})`;
  return `as root, while the process still runs, keep its variables${secret}: \`${command}\`; then remove from ${path} what only the old start needed`;
}
