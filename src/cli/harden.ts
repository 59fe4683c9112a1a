import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { installedText } from '../adapters/agent/installed-text.ts';
import {
  type HardenValues,
  hardenInputs,
  type UnhardenValues,
  unhardenInputs,
} from '../config/harden-inputs.ts';
import { parsePublicKeys } from '../config/public-keys.ts';
import { readInputs } from '../config/read-inputs.ts';
import { parseAllowedSigners } from '../config/signers.ts';
import { hostProgram } from '../generated/host-program.ts';
import { ConfigError } from '../model/errors.ts';
import type { Plan } from '../model/operation.ts';
import type { Agent } from '../ports/agent.ts';
import { renderCommands } from '../report/shell-commands.ts';
import { carryOut } from '../use-case/carry-out.ts';
import { type HardenFiles, lookAndHarden, lookAndUnharden } from '../use-case/harden.ts';
import type { Command, CommandTools } from './command.ts';
import { connectionOf, givenBy } from './connection.ts';
import { documented } from './documented.ts';
import { type ExitCode, exitCodes } from './exit-code.ts';
import {
  type Flag,
  type GivenFlags,
  inputsFor,
  jsonFlag,
  placeFlags,
  refuseFlag,
} from './flags.ts';
import { hostNamesFlag } from './fleet.ts';
import { openHost } from './open-host.ts';
import { RunDocument } from './run-document.ts';
import { TerminalRun } from './terminal-run.ts';

const keyFlags: readonly Flag[] = [
  {
    name: 'public-key-file',
    takes: 'a path',
    fallback: '',
    description:
      'File with the public key of the pipeline, or several, one per line. If not set, the keys on the host stay.',
    isSwitch: false,
  },
  {
    name: 'read-key-file',
    takes: 'a path',
    fallback: '',
    description: 'With `--read-user`: file with the public key of that user.',
    isSwitch: false,
  },
  {
    name: 'allowed-signers-file',
    takes: 'a path',
    fallback: '',
    description:
      'File in the format of `allowed_signers` (ssh-keygen): one of these keys must have signed each commit that is deployed.',
    isSwitch: false,
  },
];

const printFlag: Flag = {
  name: 'print',
  takes: '',
  fallback: '',
  description: 'Change nothing, and print the commands for a root shell instead.',
  isSwitch: true,
};

const exits = {
  [exitCodes.done]: 'everything is as desired',
  [exitCodes.host]: 'failed, and all changes were undone',
  [exitCodes.usage]: 'invalid usage, or the host does not allow it',
  [exitCodes.found]: 'a dry run, or --print, found something to change',
  [exitCodes.interrupted]: 'interrupted',
};

/** `celeriac harden`. */
export const harden: Command = {
  name: 'harden',
  summary:
    'Restricts the key of the pipeline to an agent on the host and its policy; the key is no longer root. Run it again to install a newer agent, or to change the policy.',
  usage: '[--host H] --units U --public-key-file F [flags]',
  about: [
    'Settings that are not given stay as in the policy on the host; the first time, they are the minimum that the units need.',
  ],
  inputs: hardenInputs,
  own: [...keyFlags, printFlag, hostNamesFlag, ...placeFlags, jsonFlag],
  exits,
  refuse: (given) => {
    refusePrintedJson(given);
    if (given.has('read-key-file') && !given.has('read-user')) {
      const expected = '`--read-user`, or neither of them';
      refuseFlag('read-key-file', '`--read-key-file` requires `--read-user`', expected);
    }
  },
  run: (flags, tools) => {
    const inputs = readInputs(
      inputsFor(hardenInputs, flags.has('host')),
      givenBy(flags),
      new Map(),
    );
    const files = readFiles(flags);
    return work(harden, flags, tools, inputs, {
      subject: `user ${inputs['deploy-user']}`,
      plan: (run, agent) => lookAndHarden(run, agent, inputs, files),
      next: adviceAfter(inputs),
    });
  },
};

/** `celeriac unharden`. */
export const unharden: Command = {
  name: 'unharden',
  summary: 'Undoes what `celeriac harden` did, and nothing else.',
  usage: '[--host H] [flags]',
  about: [
    'The restricted key no longer works: give the pipeline another key first. A user that owns files or runs processes stays.',
  ],
  inputs: unhardenInputs,
  own: [printFlag, hostNamesFlag, ...placeFlags, jsonFlag],
  exits,
  refuse: refusePrintedJson,
  run: (flags, tools) => {
    const set = inputsFor(unhardenInputs, flags.has('host'));
    const inputs = readInputs(set, givenBy(flags), new Map());
    return work(unharden, flags, tools, inputs, {
      subject: `user ${inputs['deploy-user']}`,
      plan: (run, agent) => lookAndUnharden(run, agent, inputs),
      next: [],
    });
  },
};

interface Work {
  readonly subject: string;
  readonly plan: (run: TerminalRun, agent: Agent) => Promise<Plan>;
  /** What to do once it is done. */
  readonly next: readonly string[];
}

async function work(
  command: Command,
  flags: GivenFlags,
  tools: CommandTools,
  inputs: HardenValues | UnhardenValues,
  { subject, plan: makePlan, next }: Work,
): Promise<ExitCode> {
  const { terminal, interrupted, person } = tools;
  const isPrint = flags.get('print') === 'true';
  const dryRun = inputs['dry-run'] || isPrint;
  await using agent = await openHost(
    connectionOf(flags, inputs, person, { onlyRoot: true }),
    tools,
  );
  interrupted.addEventListener('abort', () => void agent.close());
  const meta = {
    action: command.name,
    holder: `${person.name}@${hostname()}`,
    sha: '',
    actor: person.name,
    lockTimeoutSeconds: inputs['lock-timeout'],
  };
  const json = flags.get('json') === 'true';
  const host = flags.get('host') ?? hostname();
  const document = json ? new RunDocument({ command: command.name, host, dryRun }) : undefined;
  const run = new TerminalRun({
    terminal,
    meta,
    dryRun,
    json,
    ...(document !== undefined && { document }),
    interrupted,
  });
  return await documented(run, interrupted, async () => {
    const plan = await makePlan(run, agent);
    const { length } = plan.operations;
    if (isPrint) {
      for (const { level, message } of plan.findings) terminal.note(`${level}: ${message}`);
      terminal.out(renderCommands(plan.operations, (python) => installedText(hostProgram, python)));
      return length > 0 ? exitCodes.found : exitCodes.done;
    }
    await carryOut(run, agent, plan, { subject });
    if (dryRun) return length > 0 ? exitCodes.found : exitCodes.done;
    for (const line of length > 0 ? next : []) terminal.note(line);
    return exitCodes.done;
  });
}

/** Both print to stdout. */
function refusePrintedJson(given: GivenFlags): void {
  if (given.get('print') !== 'true' || given.get('json') !== 'true') return;
  refuseFlag('json', '`--print` does not support `--json`', '`--print` without `--json`');
}

function readFiles(flags: GivenFlags): HardenFiles {
  const read = <Type>(flag: string, parse: (text: string, where: string) => Type): Type | null => {
    const path = flags.get(flag);
    if (path === undefined) return null;
    let text: string;
    try {
      text = readFileSync(path, 'utf8');
    } catch (cause) {
      const problem = `cannot read ${path}`;
      throw new ConfigError(`--${flag}`, problem, 'the path of an existing file', { cause });
    }
    return parse(text, path);
  };
  return {
    keys: read('public-key-file', parsePublicKeys),
    readKeys: read('read-key-file', parsePublicKeys),
    sshSigners: read('allowed-signers-file', parseAllowedSigners),
  };
}

/** What the workflows need, so that they use what was made. */
const adviceAfter = (inputs: HardenValues): readonly string[] => [
  `next: in the fleet file or the inputs of the actions, set \`user: ${inputs['deploy-user']}\` and \`agent: installed\`;`,
  ...(inputs['read-user'] === ''
    ? []
    : [`with the read-only key, set \`user: ${inputs['read-user']}\`;`]),
  'then remove the key of the pipeline from every other authorized_keys of this host',
];
