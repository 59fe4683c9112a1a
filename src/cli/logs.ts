import { lookInputs } from '../config/look-inputs.ts';
import { hideSecrets } from '../report/hide-secrets.ts';
import { type LogsReport, renderLogs } from '../report/logs-text.ts';
import { rateLimitedIn } from '../verify/logged.ts';
import { loggedSince } from '../verify/released-at.ts';
import type { Command } from './command.ts';
import { exitCodes } from './exit-code.ts';
import { jsonFlag, placeFlags } from './flags.ts';
import { fleetFlag } from './fleet.ts';
import { type Look, lookExits, lookWith, renderJson, requireUnit } from './look.ts';

/** `celeriac logs`. */
export const logs: Command = {
  name: 'logs',
  summary:
    "Summarizes a worker's journal since its release: errors grouped, what is new, HTTP 429, the last lines.",
  usage: '[--host H] [--unit U]',
  about: ['Text that looks like a secret is hidden.'],
  inputs: lookInputs,
  own: [fleetFlag, ...placeFlags, jsonFlag],
  exits: lookExits,
  refuse: () => {},
  run: (flags, tools) =>
    lookWith(logs, flags, tools, async (look) => {
      const report = hideSecrets(await readLogs(look), look.secrets);
      tools.terminal.out(flags.has('json') ? renderJson(report) : renderLogs(report));
      return exitCodes.done;
    }),
};

/** @throws ConfigError when there is neither such a unit nor anything left of it */
async function readLogs({ agent, inputs: { unit } }: Look): Promise<LogsReport> {
  const query = { journal: { unit }, releases: { unit }, unit: { name: unit } } as const;
  const { journal, releases, unit: found } = await agent.look(query);
  if (releases.releases.length === 0 && journal.tail.length === 0) requireUnit(found);
  const since = loggedSince(releases, journal.since);
  const { logged } = await agent.look({ logged: { unit, since } });
  const { count, busiest } = rateLimitedIn(logged);
  return {
    unit,
    since: logged.since,
    entries: logged.entries,
    dropped: logged.dropped,
    complete: logged.complete,
    errors: logged.errors,
    tracebacks: logged.tracebacks,
    signatures: logged.signatures,
    moreSignatures: logged.moreSignatures,
    rateLimited: { count, busiest },
    tail: journal.tail,
  };
}
