import { setMaxListeners } from 'node:events';
import type { ActionName } from '../config/action-inputs.ts';
import { checkFleet } from '../config/check-fleet.ts';
import { type Fleet, type FleetValues, fleetValues } from '../config/fleet-file.ts';
import { fleetInputs } from '../config/fleet-inputs.ts';
import { type Given, readInputs } from '../config/read-inputs.ts';
import { rolloutInputs } from '../config/rollout-inputs.ts';
import { wishesOfDeploy } from '../config/wishes-of-deploy.ts';
import { ConfigError } from '../model/errors.ts';
import type { HostEnd, RolloutEnd } from '../model/fleet.ts';
import { endOfDeploy, endOfRollBack } from '../plan/fleet/host-state.ts';
import { planRollout } from '../plan/fleet/plan-rollout.ts';
import { renderFailure } from '../report/failure.ts';
import { describeFleet, fleetLines } from '../report/fleet-summary.ts';
import { rollBackTo } from '../use-case/roll-back.ts';
import { type DeployEnd, rollOut } from '../use-case/roll-out.ts';
import type { CommandTools } from './command.ts';
import { commitHere, commitOf } from './commit.ts';
import { type ExitCode, exitCodes } from './exit-code.ts';
import { asFlags, type Flag, type GivenFlags, refuseFlag } from './flags.ts';
import { flagsOfHost, readFleet, readFleetOfHosts } from './fleet.ts';
import { deployAndVerify, prepareGate } from './gate.ts';
import { renderJson } from './look.ts';
import { RunDocument } from './run-document.ts';
import type { TerminalAction } from './terminal-action.ts';
import { prepareRun } from './work.ts';

/** Flags of `celeriac deploy` for many hosts. */
export const fleetFlags: readonly Flag[] = [
  {
    name: 'fleet',
    takes: 'a path',
    fallback: '',
    description: 'Deploy and verify the hosts of this fleet file, instead of one host.',
    isSwitch: false,
  },
  {
    name: 'hosts',
    takes: 'names separated by commas, with `*` and `?`',
    fallback: 'all',
    description: 'With `--fleet`: which of its hosts.',
    isSwitch: false,
  },
];

const ofFleet: readonly string[] = ['hosts', ...Object.keys(rolloutInputs)];

/** @throws ConfigError for flags that need `--fleet`, or cannot be combined with it */
export function refuseFleetFlags(given: GivenFlags): void {
  const isFleet = given.has('fleet');
  const stray = ofFleet.find((name) => given.has(name));
  if (!isFleet && stray !== undefined) {
    refuseFlag(stray, `\`--${stray}\` requires \`--fleet\``, '`--fleet`, or neither of them');
  }
  const other = ['host', 'fleet-file', 'verify'].find((name) => given.has(name));
  if (isFleet && other !== undefined) {
    const expected = '`--fleet` alone: it names the hosts, and verifies each';
    refuseFlag(other, `\`--${other}\` cannot be combined with \`--fleet\``, expected);
  }
}

/**
 * Deploys the hosts of a fleet file, by the rules of pipeline.yml.
 *
 * @throws ConfigError before the first host is begun
 */
export async function deployFleet(flags: GivenFlags, tools: CommandTools): Promise<ExitCode> {
  const { terminal, interrupted } = tools;
  const fleet = readFleetOfHosts(flags.get('fleet') ?? '');
  const all = [...(fleet.hosts?.values() ?? [])];
  const given = (name: string): string => flags.get(name) ?? '';
  const rollout = readInputs(rolloutInputs, given, fleet.rollout);
  const { hosts: patterns } = readInputs({ hosts: fleetInputs.hosts }, given, new Map());
  const order = planRollout({
    names: all.map(({ name }) => name),
    patterns,
    canary: rollout.canary,
  });
  const hosts = [...order.canary, ...order.matrices.flat()];
  const chosen = all.filter(({ name }) => hosts.includes(name));
  checkFleet(fleet, chosen, { keysFrom: 'person', given: (action) => flagsFor(action, given) });
  const plan = {
    hosts,
    canaries: order.canary.length,
    maxFailures: rollout['max-failures'],
    onFailure: rollout['on-failure'],
  };
  const count = hosts.length === 1 ? '1 host' : `${hosts.length} hosts`;
  terminal.note(`${count}; canaries: ${order.canary.join(', ') || 'none'}`);
  // Each host listens.
  setMaxListeners(0, interrupted);
  const shas = await commitsOf(fleet, hosts, flags, tools);
  const legs = new Map(
    hosts.map((host) => {
      const leg = new HostOfFleet({ fleet, host, sha: shas.get(host) ?? '' }, flags, tools);
      return [host, leg] as const;
    }),
  );
  const options = { plan, maxParallel: rollout['max-parallel'], cancelled: interrupted };
  const legOf = (host: string): HostOfFleet => {
    const leg = legs.get(host);
    if (leg === undefined) throw new RangeError(`${host} is not of this rollout`);
    return leg;
  };
  const end = await rollOut(options, {
    deploy: (host) => legOf(host).deploy(),
    rollBack: (host, transaction) => legOf(host).rollBack(transaction),
  });
  const isPending = [...legs.values()].some((leg) => leg.isPending);
  const code = interrupted.aborted ? exitCodes.interrupted : codeOf(end, isPending);
  const { ok } = end;
  if (flags.get('json') === 'true') {
    const told = end.hosts.map((each) => ({ ...each, ...legOf(each.host).document }));
    const dryRun = flags.get('dry-run') === 'true';
    terminal.out(renderJson({ command: 'deploy', dryRun, exitCode: code, ok, hosts: told }));
  } else {
    terminal.out(`${[...fleetLines(end.hosts), describeFleet(end.hosts)].join('\n')}\n`);
  }
  return code;
}

/** The flags that an action of the rollout gets: it has no others than these two. */
const flagsFor = (action: ActionName, given: Given): Given =>
  action === 'deploy-worker'
    ? given
    : (name) => (action === 'verify' && !wishesOfDeploy.has(name) ? given(name) : '');

/** The commit for each host, before the first: what is checked out may change while the rollout runs. */
async function commitsOf(
  fleet: Fleet,
  hosts: readonly string[],
  flags: GivenFlags,
  tools: CommandTools,
): Promise<ReadonlyMap<string, string>> {
  let head: Promise<string> | undefined;
  const here = (): Promise<string> => {
    head ??= commitHere(tools);
    return head;
  };
  const shas = new Map<string, string>();
  for (const host of hosts) {
    shas.set(host, await commitOf(flags, fleetValues(fleet, 'deploy-worker', host), here));
  }
  return shas;
}

/** `pending`: a dry run found something to change on a host. */
function codeOf({ ok, hosts }: RolloutEnd, pending: boolean): ExitCode {
  if (ok) return pending ? exitCodes.found : exitCodes.done;
  const states = hosts.map(({ state }) => state);
  const isBack = states.includes('rolled-back') && !states.includes('unknown');
  return isBack ? exitCodes.back : exitCodes.host;
}

/** What was read before the first host was begun: neither may change while the rollout runs. */
interface Rolled {
  readonly fleet: Fleet;
  readonly host: string;
  /** The commit that it gets; empty: none. */
  readonly sha: string;
}

/** The work on one host of the fleet; its lines begin with its name. */
class HostOfFleet {
  readonly #flags: GivenFlags;
  readonly #tools: CommandTools;
  readonly #fleet: Fleet;
  readonly #sha: string;
  readonly #document: RunDocument;
  #isPending = false;
  /** The last one: of its roll-back, if that failed, too. */
  #error: unknown = null;

  constructor({ fleet, host, sha }: Rolled, flags: GivenFlags, tools: CommandTools) {
    this.#fleet = fleet;
    this.#sha = sha;
    const notOfHost = ['fleet', 'json', ...ofFleet];
    const own = new Map([...flags].filter(([name]) => !notOfHost.includes(name)));
    this.#flags = flagsOfHost(own.set('fleet-file', fleet.path), fleet, host);
    const dryRun = flags.get('dry-run') === 'true';
    this.#document = new RunDocument({ command: 'deploy', host, dryRun });
    const { out, note } = tools.terminal;
    const each = (text: string, say: (line: string) => void): void => {
      for (const line of text.replace(/\n$/, '').split('\n')) say(`${host}: ${line}`);
    };
    const isJson = flags.get('json') === 'true';
    const terminal = {
      out: (text: string) => each(text, isJson ? note : (line) => out(`${line}\n`)),
      note: (text: string) => each(text, note),
    };
    this.#tools = { ...tools, terminal };
  }

  /** A dry run found something to change. */
  get isPending(): boolean {
    return this.#isPending;
  }

  /** What the document of a single host has: plans, outcomes, the error. Empty, if it was not begun. */
  get document(): object {
    return this.#document.end(this.#error);
  }

  async deploy(): Promise<DeployEnd> {
    let run: TerminalAction<'deploy-worker'> | undefined;
    let gate: TerminalAction<'verify'> | undefined;
    let code: ExitCode | null = null;
    try {
      run = this.#prepare();
      const fleet = this.#valuesFor('verify');
      gate = prepareGate(this.#flags, this.#tools, fleet, this.#document);
      code = await deployAndVerify(run, gate, this.#tools);
    } catch (error) {
      this.#keep(error);
    }
    this.#isPending = code === exitCodes.found && run?.dryRun === true;
    const isWell = code === exitCodes.done || this.#isPending;
    const results = ['committed', 'undone', 'undo-failed'] as const;
    const result = results.find((each) => each === run?.outputOf('result')) ?? null;
    const wentBack = result === 'committed' && code === exitCodes.back;
    const { aborted } = this.#tools.interrupted;
    const isJudged = (gate?.outputOf('healthy') ?? '') !== '';
    const isStuck = result === 'committed' && code === null && isJudged && !aborted;
    const transaction = run?.outputOf('transaction') ?? '';
    const ended = {
      ok: isWell,
      dryRun: run?.dryRun === true,
      begun: run?.outputOf('begun') === 'true',
      result,
      awaits: (run?.outputOf('confirm-by') ?? '') !== '',
      healthy: gate?.outputOf('healthy') === 'true',
      confirmed: gate?.outputOf('confirmed').split(',').includes(transaction) === true,
      rolledBack: wentBack ? 'success' : isStuck ? 'failure' : null,
    } as const;
    const end = endOfDeploy(ended, this.#reason);
    if (isWell && run?.dryRun === true) {
      const found = this.#isPending ? 'something to change' : 'nothing to change';
      return { ...end, why: `dry run: ${found}`, transaction };
    }
    // Whoever interrupts is told how far the host is.
    if (code !== null || !aborted || run === undefined) {
      return { ...end, transaction };
    }
    return { ...end, why: `interrupted; ${run.standing.describe()}`, transaction };
  }

  async rollBack(transaction: string): Promise<HostEnd> {
    let run: TerminalAction<'deploy-worker'> | undefined;
    try {
      run = this.#prepare();
      await using agent = await run.openAgent();
      const { unit, 'deploy-to': deployTo } = run.inputs;
      await rollBackTo(run, agent, {
        unit,
        target: `newest:${transaction}`,
        folder: deployTo.path,
      });
      return endOfRollBack('undone');
    } catch (error) {
      this.#keep(error);
      const isSuperseded = run?.outputOf('result') === 'superseded';
      return endOfRollBack(isSuperseded ? 'superseded' : 'failed', this.#reason);
    }
  }

  #prepare(): TerminalAction<'deploy-worker'> {
    const fleet = this.#valuesFor('deploy-worker');
    const work = { command: 'deploy', action: 'deploy-worker', fleet, sha: this.#sha } as const;
    return prepareRun(this.#flags, this.#tools, work, this.#document);
  }

  #valuesFor(action: ActionName): FleetValues {
    const how = { changes: true, quiet: true, fleet: this.#fleet };
    return readFleet(this.#flags, action, this.#tools, how);
  }

  /** On a terminal there is no job to look at. */
  get #reason(): string {
    const { message } = this.#error instanceof Error ? this.#error : new Error('see above');
    return message.split('\n')[0] ?? '';
  }

  #keep(error: unknown): void {
    this.#error = error;
    const host = this.#flags.get('host') ?? '';
    const shown = error instanceof ConfigError ? asFlags(error) : error;
    this.#tools.terminal.note(renderFailure(shown, { action: 'deploy', host }).message);
  }
}
