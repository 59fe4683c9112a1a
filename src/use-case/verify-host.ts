import { appProcessOf } from '../celery/app-process.ts';
import { consumingQuery } from '../celery/consuming.ts';
import { type WorkerCall, workerCallOf } from '../celery/worker-call.ts';
import { workerCommand } from '../celery/worker-process.ts';
import type { VerifyDesired } from '../config/verify-desired.ts';
import { ConfigError, HostError } from '../model/errors.ts';
import type { UnitFact } from '../model/facts.ts';
import type { EpochSeconds } from '../model/units.ts';
import type { Verdict } from '../model/verdict.ts';
import type { Agent, OnProgress } from '../ports/agent.ts';
import { describeDeafness } from '../report/deafness.ts';
import { judge } from '../verify/checks.ts';
import type {
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
import { releasedAt } from '../verify/released-at.ts';
import { lookAtPrograms } from './look-at-programs.ts';

/** Loaded into the worker by deploy-worker (`host/support`). */
const supportModule = 'celeriac_support';

/** What verify needs from outside. */
export interface VerifyPorts {
  readonly agent: Pick<Agent, 'look' | 'submit'>;
  readonly onProgress: OnProgress;
  /** Workers outside the unit, by the facts of `verifyQuery`. */
  findStrays(facts: VerifyFacts): readonly Stray[] | null;
  /**
   * Searches the app's job tables; changes nothing. `releasedAt`: since when the present release runs;
   * `null`: there is none.
   */
  findStuckRows(releasedAt: EpochSeconds | null): Promise<StuckSearch>;
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
    journal: { unit },
    kernel: { unit },
    http: { probes: desired.probes },
    releases: { unit },
  };
}

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
  requireUnit(before.unit);
  const call = workerCallOf(before.unit, before.host.cpus);
  const { unit } = await lookAtPrograms(ports.agent, before);
  const source: GateSource = { unit: desired.unit, app: appProcessOf(unit), call };
  const requests = planGate(desired.gate, source, desired.gateTimeoutSeconds);
  const stuck = await ports.findStuckRows(releasedAt(before.releases));
  const first = await searchConsuming(ports, source, before.unit);
  const gate = await passGate(ports, requests, before, call, desired.dryRun);
  const after: VerifyFacts | null = gate.kind === 'sent' ? await ports.agent.look(query) : null;
  const strays = ports.findStrays(after ?? before);
  // A worker that passed the gate may have come back in between.
  const again = after !== null && first.kind === 'asked' && describeDeafness(first.fact) !== null;
  const consuming = again ? await searchConsuming(ports, source, after.unit) : first;
  const evidence = { before, after, call, strays, stuck, consuming, gate };
  return { verdict: judge(evidence, desired), evidence };
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

function requireUnit(unit: UnitFact): void {
  const problems: Readonly<Record<string, string>> = {
    'not-found': 'no such unit on the host',
    masked: 'the unit is masked (a link to /dev/null)',
    'bad-setting': 'systemd cannot load the unit: it contains an invalid setting',
    error: 'systemd cannot read the unit',
  };
  const problem = problems[unit.loadState];
  if (problem === undefined) return;
  throw new ConfigError(
    'input unit',
    `${unit.name}: ${problem}`,
    'the name of a systemd service that runs a Celery worker',
  );
}

async function passGate(
  ports: VerifyPorts,
  requests: readonly GateRequest[],
  before: VerifyFacts,
  call: WorkerCall | null,
  dryRun: boolean,
): Promise<GateResult> {
  if (requests.length === 0) return { kind: 'none' };
  if (dryRun) return { kind: 'not-sent', requests, why: 'dry run, would send' };
  if (before.unit.activeState !== 'active') {
    return { kind: 'not-sent', requests, why: 'not sent, the worker is not running' };
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
