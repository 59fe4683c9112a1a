import type { HostState, RolloutEnd } from '../model/fleet.ts';
import { formatCount } from '../model/quantities.ts';
import { capMarkdown, escapeMarkdown } from './escape.ts';
import { renderTable } from './summary.ts';

const titles = {
  confirmed: 'deployed and confirmed',
  'rolled-back': 'rolled back',
  untouched: 'untouched',
  unknown: 'unknown',
} as const satisfies Readonly<Record<HostState, string>>;

/** The states, the one to look at first. */
const order = ['unknown', 'rolled-back', 'untouched', 'confirmed'] as const;

type Hosts = RolloutEnd['hosts'];

/** `10 hosts: 3 deployed and confirmed, 1 rolled back, 6 untouched.` */
export function describeFleet(hosts: Hosts): string {
  const counts = [...order]
    .reverse()
    .map((state) => [state, hosts.filter((each) => each.state === state).length] as const)
    .filter(([, count]) => count > 0)
    .map(([state, count]) => `${count} ${titles[state]}`);
  return `${formatCount(hosts.length, 'host')}: ${counts.join(', ')}.`;
}

/** One line for each host, for the log. */
export const fleetLines = (hosts: Hosts): readonly string[] =>
  hosts.map(({ host, state, why }) => `${host}: ${titles[state]}; ${why}`);

/** The job summary of a rollout: every host with its end, those to look at first. */
export function renderFleetSummary(hosts: Hosts): string {
  const rows = order.flatMap((state) =>
    hosts
      .filter((each) => each.state === state)
      .map(({ host, why }) => [host, titles[state], why] as const),
  );
  const unknown = hosts.filter(({ state }) => state === 'unknown');
  const parts = [
    '### Fleet',
    escapeMarkdown(describeFleet(hosts)),
    unknown.length === 0 ? '' : whatToDo,
    renderTable({ columns: ['host', 'state', 'why'], rows }),
  ];
  return capMarkdown(`${parts.filter((part) => part !== '').join('\n\n')}\n`);
}

const whatToDo =
  'Check the hosts whose state is unknown: `celeriac releases --host …` says which release runs, `celeriac status --host …` shows the worker. To roll back, run `rollback.yml` for that host.';
