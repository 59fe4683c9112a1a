import { openRepository, type Repository } from '../adapters/repository.ts';
import { appUserOf } from '../celery/app-user.ts';
import { hostInputs } from '../config/host-inputs.ts';
import type { ValuesOf } from '../config/input.ts';
import { readInputs } from '../config/read-inputs.ts';
import { repository as home, version } from '../generated/version.ts';
import { ConfigError } from '../model/errors.ts';
import {
  chooseWorker,
  copiesOf,
  describeWorker,
  type FoundWorker,
  type FoundWorkers,
  nameOf,
  type UnitWorker,
} from '../plan/init/find-workers.ts';
import { fleetText, movesCheckout, type Reach } from '../plan/init/fleet-text.ts';
import { nextSteps } from '../plan/init/next-steps.ts';
import { proposeUnit, type UnitRequest } from '../plan/init/propose-unit.ts';
import { hostLine, inColumns, looseLines, otherLines, workerLines } from '../plan/init/summary.ts';
import { workflowText } from '../plan/init/workflow-text.ts';
import type { Agent } from '../ports/agent.ts';
import {
  type FirstLook,
  findFreeUnit,
  lookAtChosen,
  lookForWorkers,
} from '../use-case/look-for-workers.ts';
import type { Command, CommandTools } from './command.ts';
import { connectionOf, givenBy, loginOf } from './connection.ts';
import { type ExitCode, exitCodes } from './exit-code.ts';
import { type GivenFlags, jsonFlag, placeFlags, refuseFlag } from './flags.ts';
import { writeProposed } from './init-files.ts';
import { howToPrint, type Trust, trustHost } from './init-trust.ts';
import { renderJson } from './look.ts';
import { openHost } from './open-host.ts';
import type { Ask } from './terminal.ts';

const { agent: _agent, 'fleet-file': _fleet, ...loginInputs } = hostInputs;
const { 'dry-run': _dryRun, 'lock-timeout': _lockTimeout, ...flagInputs } = loginInputs;

const switchFlag = (name: string, description: string) =>
  ({ name, takes: '', fallback: '', description, isSwitch: true }) as const;
const valueFlag = (name: string, takes: string, fallback: string, description: string) =>
  ({ name, takes, fallback, description, isSwitch: false }) as const;

/** `celeriac init`. */
export const init: Command = {
  name: 'init',
  summary:
    'Inspects a host, and writes .github/fleet.yml and the workflow for its worker into this repository. Changes nothing on the host.',
  usage: '--host H [--yes] [flags]',
  about: [
    'For a worker that runs without a unit (nohup, screen, tmux, supervisor, cron), it proposes a unit and says how to migrate to it.',
    'It asks only what it cannot find out. Without a terminal, it asks nothing.',
  ],
  inputs: flagInputs,
  own: [
    valueFlag(
      'worker',
      'a unit, or the number of a process',
      'the only one that is in use',
      'Which worker, if there are several.',
    ),
    valueFlag(
      'fingerprint',
      '`SHA256:…`',
      '',
      "Fingerprint of the server's host key, as `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` prints it on the server's console; for a host that is not in known_hosts.",
    ),
    valueFlag('repository', 'a path', 'the current folder', 'Checkout to write into.'),
    switchFlag('yes', 'Ask nothing.'),
    switchFlag('force', 'Overwrite existing files that differ.'),
    switchFlag('dry-run', 'Show the files without writing them.'),
    ...placeFlags.filter(({ name }) => name !== 'sudo'),
    jsonFlag,
  ],
  exits: {
    [exitCodes.done]: 'the files are written, or were up to date',
    [exitCodes.host]: 'the host could not be reached',
    [exitCodes.usage]: 'invalid usage, no worker found, or an answer is missing',
    [exitCodes.found]: 'a dry run has files to write',
    [exitCodes.left]: 'an existing file that differs was not replaced',
    [exitCodes.interrupted]: 'interrupted',
  },
  refuse: (given) => {
    if (!given.has('host')) {
      refuseFlag('host', 'missing `--host`', 'the host that GitHub will reach by SSH');
    }
  },
  run: initHost,
};

async function initHost(flags: GivenFlags, tools: CommandTools): Promise<ExitCode> {
  const { terminal, interrupted, person } = tools;
  const ask = flags.get('yes') === 'true' ? null : (terminal.ask ?? null);
  const repository = await openRepository(flags.get('repository') ?? process.cwd());
  const given = givenBy(flags);
  const trust = await trustHost(readSubject(flags), flags, terminal, ask);
  const inputs = readInputs(
    loginInputs,
    (name) => (name === 'known-hosts' ? trust.lines : name === 'dry-run' ? 'true' : given(name)),
    new Map(),
  );
  await using agent = await openHost(connectionOf(flags, inputs, person), tools);
  interrupted.addEventListener('abort', () => void agent.close());
  const first = await lookForWorkers(agent);
  const worker = await choose(first.found, flags.get('worker'), ask);
  const reach = reachOf(inputs, flags);
  const proposal =
    worker.kind === 'unit'
      ? await proposeFiles(agent, first, worker, repository, reach, trust)
      : proposeFirstUnit({
          worker,
          copies: copiesOf(worker, first.found),
          name: await findFreeUnit(agent),
          reach,
        });
  const other = otherLines(first.found, nameOf(worker));
  await agent.close();
  if (flags.get('json') === 'true') {
    terminal.out(renderJson({ host: reach.host, knownHosts: trust.lines, ...proposal, other }));
  } else {
    terminal.out(`${reach.host}: ${hostLine(first.host, first.swap)}\n\n`);
    terminal.out(inColumns(proposal.found));
    for (const line of other) terminal.out(`${line}\n`);
  }
  const written = await writeProposed(proposal.files, repository, { flags, terminal, ask });
  if (flags.get('json') !== 'true') terminal.out(renderSteps(proposal.next, trust));
  return written;
}

/** Where the host is, before anything identifies it. */
function readSubject(flags: GivenFlags) {
  const { host, port, 'proxy-jump': jump, 'connect-timeout': timeout } = hostInputs;
  const inputs = { host, port, 'proxy-jump': jump, 'connect-timeout': timeout };
  const read = readInputs(inputs, givenBy(flags), new Map());
  const isJump = read['proxy-jump'].jump !== null;
  return { host: read.host, port: read.port, timeout: read['connect-timeout'], isJump };
}

const reachOf = ({ host, port, user }: ValuesOf<typeof loginInputs>, flags: GivenFlags): Reach => ({
  host,
  port,
  user,
  jump: loginOf(flags).proxyJump,
});

interface Proposed {
  /** A label and a text. */
  readonly found: readonly (readonly [string, string])[];
  readonly files: readonly { readonly path: string; readonly text: string }[];
  /** What to do next: a title with its commands. */
  readonly next: readonly (readonly [string, readonly string[]])[];
}

async function proposeFiles(
  agent: Agent,
  first: FirstLook,
  worker: UnitWorker,
  repository: Repository,
  reach: Reach,
  trust: Trust,
): Promise<Proposed> {
  const facts = await lookAtChosen(agent, first, worker, (commit) => repository.hasCommit(commit));
  const self = { repository: home, version };
  const path = '.github/fleet.yml';
  const files = [
    { path, text: fleetText(reach, facts, self, await repository.read(path)) },
    // Last: it is what uses the others.
    {
      path: '.github/workflows/celeriac.yml',
      text: workflowText({ host: reach.host, branch: repository.branch }, self),
    },
  ];
  return {
    found: workerLines(facts),
    files,
    next: nextSteps({
      reach,
      knownHosts: trust.lines,
      branch: repository.branch,
      files: files.map(({ path }) => path),
      unit: worker.unit.name,
      appUser: appUserOf(worker.unit),
      movesCheckout: movesCheckout(facts),
    }),
  };
}

function proposeFirstUnit(request: UnitRequest): Proposed {
  const proposal = proposeUnit(request);
  if ('problem' in proposal) {
    const problem = `no unit can be proposed for ${describeWorker(request.worker)}: ${proposal.problem}`;
    throw new ConfigError(
      '--worker',
      problem,
      'a unit of your own: docs/tutorial.md has an example',
    );
  }
  const { name, text, steps } = proposal;
  return {
    found: looseLines(request.worker, proposal),
    files: [{ path: name, text }],
    next: [['Celeriac manages units. To migrate to this one:', steps]],
  };
}

/** @throws ConfigError when it cannot be known, and nobody can be asked */
async function choose(
  found: FoundWorkers,
  wanted: string | undefined,
  ask: Ask | null,
): Promise<FoundWorker> {
  const all = [...found.units, ...found.processes];
  const list = all.map(describeWorker).join('; ');
  if (wanted !== undefined) {
    const named = all.find((each) => [wanted, `${wanted}.service`].includes(nameOf(each)));
    return (
      named ?? refuseFlag('worker', `no worker \`${wanted}\` on the host`, list || 'none is there')
    );
  }
  const choice = chooseWorker(found);
  if (choice.kind === 'chosen') return choice.worker;
  if (choice.kind === 'none') return refuseNone(found);
  const { workers } = choice;
  if (ask === null) return refuseFlag('worker', 'several workers were found', `one of: ${list}`);
  const lines = workers.map((each, at) => `  ${at + 1}  ${describeWorker(each)}\n`).join('');
  const answer = await ask(
    `Several workers were found:\n${lines}Which one? (1 to ${workers.length}) `,
  );
  const picked = /^\s*\d+\s*$/.test(answer) ? workers[Number(answer) - 1] : undefined;
  return picked ?? refuseFlag('worker', 'none was chosen', `one of: ${list}`);
}

function refuseNone({ others }: FoundWorkers): never {
  const seen = others.map(({ name, reason }) => `${name}: ${reason}`);
  throw new ConfigError(
    '--host',
    seen.length === 0
      ? 'no Celery worker was found, neither as a service nor as a running process'
      : `no worker was found that Celeriac could manage (${seen.join('; ')})`,
    'a running worker, or a unit for it: docs/tutorial.md has an example',
  );
}

function renderSteps(next: Proposed['next'], { key }: Trust): string {
  const steps = next.map(([title, commands], at) => {
    const lines = commands.map((line) => `     ${line}\n`).join('');
    return `\n${at + 1}. ${title}\n${lines}`;
  });
  const check =
    key === null
      ? ''
      : `\nThe host key is ${key.fingerprint} (${key.type}): on the server's own console, \`${howToPrint(key.type)}\` prints the same.\n`;
  return `${check}${steps.join('')}`;
}
