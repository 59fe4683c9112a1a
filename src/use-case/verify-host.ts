import { appProcessOf } from '../celery/app-process.ts';
import { type OwnBeats, ownBeats, scheduleQuery } from '../celery/beat.ts';
import { consumingQuery } from '../celery/consuming.ts';
import { identityOf } from '../celery/strays.ts';
import { type WorkerCall, workerCallOf } from '../celery/worker-call.ts';
import { beatCommand, workerCommand } from '../celery/worker-process.ts';
import type { VerifyDesired } from '../config/verify-desired.ts';
import { HostError } from '../model/errors.ts';
import type { LoggedFact, LoggedQuery } from '../model/facts/journal.ts';
import type { HttpProbe } from '../model/facts/probe.ts';
import type { UnitFact } from '../model/facts/unit.ts';
import { formatDuration } from '../model/quantities.ts';
import { type EpochSeconds, seconds } from '../model/units.ts';
import type { Verdict } from '../model/verdict.ts';
import type { Agent, OnProgress } from '../ports/agent.ts';
import { describeDeafness } from '../report/deafness.ts';
import { supportModule } from '../systemd/support-module.ts';
import { requireLoaded } from '../systemd/unit-state.ts';
import { ownUrls } from '../verify/checks/own.ts';
import { judge } from '../verify/checks.ts';
import type {
  BrokerSearch,
  ConsumingSearch,
  GateRequest,
  GateResult,
  GateRun,
  Stray,
  StuckSearch,
  VerifyEvidence,
  VerifyFacts,
  VerifyQuery,
} from '../verify/evidence.ts';
import { announceGate, type GateSource, planGate } from '../verify/gate.ts';
import { memoryGrowth } from '../verify/memory-growth.ts';
import { loggedSince, releasedAt } from '../verify/released-at.ts';
import { lookAtPrograms } from './look-at-programs.ts';
import type { Pause } from './run.ts';
import { runOwnCommands } from './run-own-commands.ts';

/** A worker may give memory back some time after a job, e.g. when it replaces a child. */
const returnPauses = 4;
const returnPause = seconds(5);

/** What verify needs from outside. */
export interface VerifyPorts {
  readonly agent: Pick<Agent, 'look' | 'submit' | 'clockSkew'>;
  readonly onProgress: OnProgress;
  /** Waits, and says why. */
  pause(pause: Pause): Promise<void>;
  /** Workers outside the unit, by the facts of `verifyQuery`. */
  findStrays(facts: VerifyFacts): readonly Stray[] | null;
  /**
   * Searches the app's job tables; changes nothing. `releasedAt`: since when the present release runs;
   * `null`: there is none.
   */
  findStuckRows(releasedAt: EpochSeconds | null): Promise<StuckSearch>;
  /** The run of the unit that has just said that it takes its messages: it is not asked at first. */
  readonly consumes?: string;
}

export interface Verification {
  readonly verdict: Verdict;
  readonly evidence: VerifyEvidence;
}

/** All facts that verify needs, in one message. */
export function verifyQuery(desired: VerifyDesired): VerifyQuery {
  const unit = desired.unit;
  return {
    host: {},
    unit: { name: unit },
    workers: { command: workerCommand },
    // Which swap areas are active does not depend on the path.
    swap: { path: '/swapfile' },
    sysctl: { names: ['vm.swappiness'] },
    settings: { unit },
    room: { unit, paths: foldersOf(desired.databases) },
    pressure: { unit },
    journal: { unit },
    kernel: { unit },
    http: { probes: [...desired.probes, ...ownUrls(desired.ownChecks)].map(probeOf) },
    releases: { unit },
    beats: { command: beatCommand },
  };
}

const probeOf = ({ url, timeoutSeconds }: HttpProbe): HttpProbe => ({ url, timeoutSeconds });

/** The folders of the job databases that are files. */
const foldersOf = (databases: readonly string[]): readonly string[] =>
  databases
    .filter((each) => each.startsWith('/'))
    .map((each) => each.slice(0, each.lastIndexOf('/')) || '/');

/**
 * Reads the facts, sends the probes of the gate and waits for them, reads the facts again, judges.
 * Without probes, the facts are read once.
 *
 * @throws ConfigError when there is no such unit, or it does not provide what the gate needs
 * @throws HostError when the host cannot be reached
 */
export async function verifyHost(
  ports: VerifyPorts,
  desired: VerifyDesired,
): Promise<Verification> {
  const query = verifyQuery(desired);
  const before: VerifyFacts = await ports.agent.look(query);
  const expected = 'the name of a systemd service that runs a Celery worker';
  requireLoaded(before.unit, 'input unit', expected);
  const call = workerCallOf(before.unit, before.host.cpus);
  const { unit } = await lookAtPrograms(ports.agent, before);
  const source: GateSource = { unit: desired.unit, app: appProcessOf(unit), call };
  const requests = planGate(desired.gate, source, desired.gateTimeoutSeconds, desired.gateBatch);
  const since = loggedSince(before.releases, before.journal.since);
  const stuck = await ports.findStuckRows(releasedAt(before.releases));
  const isKnown = ports.consumes !== undefined && ports.consumes === runOf(before.unit);
  const consumes: ConsumingSearch = { kind: 'asked', fact: { kind: 'consumes' } };
  const beats = beatsOf(before, call);
  const { unit: name } = desired;
  // One after the other on the host, but without a round trip between them.
  const [{ logged: earlier }, first, earlierBroker] = await Promise.all([
    ports.agent.look({ logged: { unit: name, since } }),
    isKnown ? consumes : searchConsuming(ports, source, before.unit),
    searchBroker(ports, source, before, beats, null),
  ]);
  const gone = earlierBroker.kind === 'asked' && earlierBroker.last.kind === 'unreachable';
  const gate = await passGate(ports, requests, before, call, { dryRun: desired.dryRun, gone });
  // At once: the process of the app that has sent the probes answers this, too.
  const later =
    gate.kind === 'sent'
      ? searchBroker(ports, source, before, beats, earlierBroker)
      : earlierBroker;
  const commands = runOwnCommands(ports, desired, source.app);
  const [laterBroker, ownCommands, after] = await Promise.all([
    later,
    commands,
    commands.then(() =>
      gate.kind === 'sent' ? lookAfterGate(ports, query, before, gate, desired) : null,
    ),
  ]);
  const strays = ports.findStrays(after ?? before);
  // A worker that passed the gate may have come back in between.
  const again = after !== null && first.kind === 'asked' && describeDeafness(first.fact) !== null;
  const consuming = again ? await searchConsuming(ports, source, after.unit) : first;
  const log =
    after === null
      ? { logged: earlier, loggedMeanwhile: null }
      : await searchLog(ports, earlier, before);
  const broker: BrokerSearch =
    after === null || laterBroker.kind === 'not-asked'
      ? laterBroker
      : { ...laterBroker, lastAt: after.host.now };
  const evidence = {
    before,
    after,
    call,
    strays,
    stuck,
    consuming,
    broker,
    beats: after === null ? beats : beatsOf(after, call),
    ...log,
    gate,
    ownCommands,
    clockSkew: ports.agent.clockSkew,
  };
  return { verdict: judge(evidence, desired), evidence };
}

/** systemd names each run of a unit. */
const runOf = ({ activeState, properties }: UnitFact): string | undefined =>
  activeState === 'active' ? properties.InvocationID : undefined;

/**
 * The facts again, with the unit as it is once it has given back the memory of the probes. All of
 * them once more if another run has begun meanwhile, so that they tell how this one ended.
 */
async function lookAfterGate(
  { agent, pause }: VerifyPorts,
  query: VerifyQuery,
  before: VerifyFacts,
  { runs }: GateResult & { kind: 'sent' },
  { memoryReturnBytes }: VerifyDesired,
): Promise<VerifyFacts> {
  const { name: unit, properties } = before.unit;
  const { InvocationID: earlierRun = '' } = properties;
  const journal = earlierRun === '' ? query.journal : { unit, earlierRun };
  const lookAtAll = (): Promise<VerifyFacts> => agent.look({ ...query, journal });
  const isHeld = (unit: UnitFact): boolean =>
    memoryGrowth(before.unit.memory, unit.memory, memoryReturnBytes)?.isAllowed === false;
  let after = await lookAtAll();
  const passed = runs.every(({ result }) => result.kind === 'report' && result.report.ok);
  for (let waits = 0; passed && waits < returnPauses && isHeld(after.unit); waits += 1) {
    const why = `the worker still holds the memory of the probes; checking again in ${formatDuration(returnPause)}`;
    await pause({ seconds: returnPause, why });
    const { unit: now } = await agent.look({ unit: query.unit });
    after = runOf(now) === runOf(after.unit) ? { ...after, unit: now } : await lookAtAll();
  }
  return after;
}

const beatsOf = ({ beats, unit }: VerifyFacts, call: WorkerCall | null): OwnBeats =>
  call === null || call.app === null
    ? { units: [], processes: [] }
    : ownBeats(beats, identityOf(unit, call.app, call.workingDirectory));

/** One look at the broker, or the second one after `earlier`. */
async function searchBroker(
  { agent }: VerifyPorts,
  { app, call }: GateSource,
  { host }: VerifyFacts,
  beats: OwnBeats,
  earlier: BrokerSearch | null,
): Promise<BrokerSearch> {
  if (earlier?.kind === 'not-asked') return earlier;
  if (app.kind !== 'known' || call === null || call.queues === 'unknown') {
    return {
      kind: 'not-asked',
      why: 'the unit does not show how to import its app, or its queues',
    };
  }
  const queues = call.queues === 'default' ? null : call.queues;
  const query = { ...app.process, queues, beat: scheduleQuery(beats) };
  const { broker } = await agent.look({ broker: query });
  const { first, firstAt } = earlier ?? { first: broker, firstAt: host.now };
  return { kind: 'asked', first, firstAt, last: broker, lastAt: host.now };
}

/** The log since the release, once more, and of the time since `earlier`. */
async function searchLog(
  { agent }: VerifyPorts,
  earlier: LoggedFact,
  { host, unit: { name: unit } }: VerifyFacts,
): Promise<Pick<VerifyEvidence, 'logged' | 'loggedMeanwhile'>> {
  const meanwhile: LoggedQuery =
    earlier.cursor === ''
      ? { unit, since: host.now }
      : { unit, since: null, after: earlier.cursor };
  const [{ logged }, { logged: loggedMeanwhile }] = await Promise.all([
    agent.look({ logged: { unit, since: earlier.since } }),
    agent.look({ logged: meanwhile }),
  ]);
  return { logged, loggedMeanwhile };
}

async function searchConsuming(
  { agent }: VerifyPorts,
  { app, call }: GateSource,
  unit: UnitFact,
): Promise<ConsumingSearch> {
  const no = (why: string): ConsumingSearch => ({ kind: 'not-asked', why });
  if (unit.activeState !== 'active') return no('the worker is not running');
  if (app.kind !== 'known') return no('the unit does not show how to import its app');
  const query = consumingQuery(app.process, call);
  if (query === null) return no('the unit does not show the queues of its worker');
  const { consuming } = await agent.look({ consuming: query });
  return { kind: 'asked', fact: consuming };
}

async function passGate(
  ports: VerifyPorts,
  requests: readonly GateRequest[],
  before: VerifyFacts,
  call: WorkerCall | null,
  { dryRun, gone }: { readonly dryRun: boolean; readonly gone: boolean },
): Promise<GateResult> {
  if (requests.length === 0) return { kind: 'none' };
  if (dryRun) return { kind: 'not-sent', requests, why: 'dry run, would send' };
  if (before.unit.activeState !== 'active') {
    return { kind: 'not-sent', requests, why: 'not sent, the worker is not running' };
  }
  // The check of the broker tells why; a probe could tell no more.
  if (gone && requests.every(({ request }) => request.kind !== 'http')) {
    return { kind: 'not-sent', requests, why: 'not sent, the app does not reach its broker' };
  }
  const runs: GateRun[] = [];
  let passed = true;
  if (!loadsSupport(requests, call)) {
    return { kind: 'sent', runs: withoutSupport(requests, before.unit.name) };
  }
  const cost = announceGate(requests);
  if (cost !== null) ports.onProgress({ kind: 'note', message: `gate: ${cost}` });
  for (const request of requests) {
    const result: GateRun['result'] = passed ? await send(ports, request) : { kind: 'not-sent' };
    passed = result.kind === 'report' && result.report.ok;
    runs.push({ request, result });
  }
  return { kind: 'sent', runs };
}

/** Canaries are tasks of the support module: only a worker that loads it can run them. */
function loadsSupport(requests: readonly GateRequest[], call: WorkerCall | null): boolean {
  const canaries = requests.some(({ request }) => request.kind === 'canary');
  return !canaries || call === null || call.include.includes(supportModule);
}

function withoutSupport(requests: readonly GateRequest[], unit: string): readonly GateRun[] {
  return requests.map((request, index) => ({
    request,
    result:
      index > 0
        ? { kind: 'not-sent' }
        : {
            kind: 'fault',
            problem: `${unit} does not load ${supportModule} (-I), which runs the canaries`,
            evidence: [],
            next: 'run deploy-worker, which adds it; or choose gate `task` or `http`',
          },
  }));
}

/** A fault becomes a finding: the other checks may still show the cause. */
async function send(ports: VerifyPorts, request: GateRequest): Promise<GateRun['result']> {
  ports.onProgress({ kind: 'note', message: `gate: ${request.title}` });
  try {
    return { kind: 'report', report: await ports.agent.submit(request.request, ports.onProgress) };
  } catch (error) {
    if (!(error instanceof HostError)) throw error;
    const { evidence = [], next } = error.failure;
    return { kind: 'fault', problem: error.message, evidence, next };
  }
}
