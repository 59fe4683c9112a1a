import { deployWorkerInputs } from '../config/deploy-worker-inputs.ts';
import type { FleetValues } from '../config/fleet-file.ts';
import type { Inputs } from '../config/input.ts';
import { readInputs } from '../config/read-inputs.ts';
import { verifyInputs } from '../config/verify-inputs.ts';
import { renderStatus } from '../report/status-text.ts';
import { diagnose } from '../use-case/diagnose.ts';
import type { Command, CommandTools } from './command.ts';
import { givenBy } from './connection.ts';
import { codeOfReport, type ExitCode, exitCodes } from './exit-code.ts';
import { type GivenFlags, placeFlags, reportFlag } from './flags.ts';
import { fleetFlag, readFleet } from './fleet.ts';
import { renderJson } from './look.ts';
import { workOnHost } from './work.ts';

/** Of verify, what makes no sense for a look. */
const notOfLook: ReadonlySet<string> = new Set(['mode', 'confirm', 'soak-failure', 'dry-run']);

/** Of deploy-worker, what its rules need to know. */
const ruleInputs = {
  'longest-task': deployWorkerInputs['longest-task'],
  'accept-rules': deployWorkerInputs['accept-rules'],
} as const;

const lookInputs: Inputs = Object.fromEntries(
  Object.entries(verifyInputs).filter(([name]) => !notOfLook.has(name)),
);

/** `celeriac doctor`. */
export const doctor: Command = {
  name: 'doctor',
  summary:
    'Says what is wrong on a host and what to do next: the checks of verify and the rules for units. Changes nothing, and sends no probes unless `--gate` asks for them.',
  usage: '[--host H] [--unit U] [flags]',
  about: ['A release that awaits its verdict keeps waiting: only `celeriac verify` confirms it.'],
  inputs: {
    ...lookInputs,
    gate: {
      ...verifyInputs.gate,
      fallback: 'none',
      description:
        'Also send probes: `canary` (tasks of the support module), `task` (a task of your app) or `http` (a request to your app).',
    },
    checks: {
      ...verifyInputs.checks,
      description: `${verifyInputs.checks.description} \`doctor\` requests the URLs, but runs no command: only \`verify\` does.`,
    },
    ...ruleInputs,
  },
  own: [fleetFlag, ...placeFlags, reportFlag],
  exits: {
    [exitCodes.done]: 'healthy, perhaps with warnings',
    [exitCodes.host]: 'the host could not be reached',
    [exitCodes.usage]: 'invalid usage, or the unit does not exist',
    [exitCodes.found]: 'not healthy',
    [exitCodes.left]: 'inconclusive: a required check is unknown',
    [exitCodes.interrupted]: 'interrupted',
  },
  refuse: () => {},
  run: examine,
};

function examine(flags: GivenFlags, tools: CommandTools): Promise<ExitCode> {
  const ofVerify = readFleet(flags, 'verify', tools, { changes: false });
  const ofWorker = readFleet(flags, 'deploy-worker', tools, { changes: false, quiet: true });
  const rules = readInputs(ruleInputs, givenBy(flags), ofWorker);
  const gate = flags.get('gate') ?? 'none';
  const isAsked = gate.trim() !== 'none';
  let printed: string | null = null;
  return workOnHost(flags, tools, {
    command: 'doctor',
    action: 'verify',
    fleet: isAsked ? ofVerify : withoutGate(ofVerify),
    acknowledges: false,
    set: { gate, mode: 'checks', confirm: 'false', 'dry-run': String(!isAsked) },
    body: async (run) => {
      await using agent = await run.openAgent();
      const report = await diagnose(run, agent, {
        longestTaskSeconds: rules['longest-task'],
        accepted: rules['accept-rules'],
      });
      printed = renderJson(report);
      if (flags.get('json') !== 'true') tools.terminal.out(renderStatus(report));
      return codeOfReport(report);
    },
    document: () => printed,
  });
}

/** The probes that the file describes are for verify. */
const withoutGate = (fleet: FleetValues): FleetValues =>
  new Map([...fleet].filter(([name]) => !name.startsWith('gate')));
