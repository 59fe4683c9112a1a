import { lookInputs } from '../config/look-inputs.ts';
import { hideSecrets } from '../report/hide-secrets.ts';
import { isAwaited, renderReleases } from '../report/status-text.ts';
import { releasesOf } from '../verify/report.ts';
import type { Command } from './command.ts';
import { exitCodes } from './exit-code.ts';
import { jsonFlag, placeFlags } from './flags.ts';
import { fleetFlag } from './fleet.ts';
import { lookExits, lookWith, renderJson, requireUnit } from './look.ts';
import { describeNext } from './next-command.ts';

/** `celeriac releases`. */
export const releases: Command = {
  name: 'releases',
  summary:
    'Lists the releases of a worker, newest first: when, by whom, which commit, and whether they are proven.',
  usage: '[--host H] [--unit U]',
  about: [],
  inputs: lookInputs,
  own: [fleetFlag, ...placeFlags, jsonFlag],
  exits: lookExits,
  refuse: () => {},
  run: (flags, tools) =>
    lookWith(releases, flags, tools, async ({ agent, inputs, secrets }) => {
      const { unit } = inputs;
      const found = await agent.look({ releases: { unit }, unit: { name: unit } });
      if (found.releases.releases.length === 0) requireUnit(found.unit);
      const list = hideSecrets(releasesOf(found.releases), secrets);
      const text = flags.has('json') ? renderJson(list) : renderReleases(list);
      tools.terminal.out(text);
      if (!flags.has('json') && isAwaited(list)) {
        tools.terminal.note(`next: ${describeNext('verify', flags, inputs.unit)}`);
      }
      return exitCodes.done;
    }),
};
