import { setTimeout as wait } from 'node:timers/promises';
import { durationInput } from '../config/input.ts';
import { statusInputs } from '../config/look-inputs.ts';
import { readInputs } from '../config/read-inputs.ts';
import { readSoakDesired } from '../config/soak-inputs.ts';
import { readVerifyDesired } from '../config/verify-desired.ts';
import { renderProgress } from '../report/progress.ts';
import { isAwaited, renderStatus } from '../report/status-text.ts';
import { lookAtWorker } from '../use-case/look-at-worker.ts';
import { emptyMemory } from '../use-case/verify-report.ts';
import type { Command, CommandTools } from './command.ts';
import { codeOfReport, type ExitCode, exitCodes } from './exit-code.ts';
import { type GivenFlags, jsonFlag, placeFlags, refuseFlag } from './flags.ts';
import { fleetFlag } from './fleet.ts';
import { type Look, lookExits, lookWith, renderJson } from './look.ts';
import { describeNext } from './next-command.ts';

const everyInput = {
  every: durationInput({ description: 'With `--watch`: how often to refresh.', fallback: '15s' }),
} as const;

/** `celeriac status`. */
export const status: Command = {
  name: 'status',
  summary:
    'Shows a worker as it is now: what verify checks, memory, queues, releases and the progress of the proof. Sends no probes and changes nothing.',
  usage: '[--host H] [--unit U] [--watch]',
  about: ['The tables of the app are not read.'],
  inputs: { ...everyInput, ...statusInputs },
  own: [
    {
      name: 'watch',
      takes: '',
      fallback: '',
      description: 'Keep refreshing until Ctrl+C.',
      isSwitch: true,
    },
    fleetFlag,
    ...placeFlags,
    {
      ...jsonFlag,
      description:
        'Print the report as JSON (docs/reference/report.schema.json); with `--watch`, one line per refresh.',
    },
  ],
  exits: {
    ...lookExits,
    [exitCodes.done]: 'healthy',
    [exitCodes.found]: 'not healthy',
    [exitCodes.left]: 'inconclusive: a required check is unknown',
  },
  refuse: (given) => {
    if (given.has('every') && given.get('watch') !== 'true') {
      refuseFlag('every', '`--every` requires `--watch`', '`--watch`, or neither of them');
    }
  },
  run: (flags, tools) => lookWith(status, flags, tools, (look) => show(look, flags, tools)),
};

async function show(look: Look, flags: GivenFlags, tools: CommandTools): Promise<ExitCode> {
  const { terminal, interrupted } = tools;
  const { every } = readInputs(everyInput, (name) => flags.get(name) ?? '', new Map());
  const isWatch = flags.get('watch') === 'true';
  const isJson = flags.get('json') === 'true';
  const desired = readVerifyDesired(look.inputs);
  const subject = { ...look, soakLimits: readSoakDesired(look.inputs).limits };
  const memory = emptyMemory();
  const tell = isWatch
    ? () => {}
    : (progress: Parameters<typeof renderProgress>[0]) => {
        const line = renderProgress(progress);
        if (line !== null) terminal.note(line);
      };
  for (;;) {
    const report = await lookAtWorker(look.agent, tell, desired, subject, memory);
    if (isWatch && !isJson) terminal.clear?.();
    terminal.out(isJson ? renderJson(report, { isSeries: isWatch }) : renderStatus(report));
    if (!isJson && isAwaited(report.releases)) {
      terminal.note(`next: ${describeNext('verify', flags, look.inputs.unit)}`);
    }
    if (!isWatch) return codeOfReport(report);
    await wait(every * 1000, undefined, { signal: interrupted });
  }
}
