import { runsBeat } from '../../celery/beat.ts';
import { findCeleryCall } from '../../celery/celery-call.ts';
import type { Companion } from '../../config/companion-inputs.ts';
import type { DeployWorkerDesired } from '../../config/deploy-worker-desired.ts';
import { ConfigError } from '../../model/errors.ts';
import type { ServiceBeside } from '../../model/facts/beside.ts';
import type { UndoingFact } from '../../model/facts/ledger.ts';
import type { UnitFact } from '../../model/facts/unit.ts';
import type { GuardCompanion, RestartCompanion } from '../../model/operation/companion.ts';
import type { Finding, Operation } from '../../model/operation.ts';
import { type Seconds, seconds } from '../../model/units.ts';
import { showUrl } from '../../systemd/secrets.ts';
import { requireLoaded } from '../../systemd/unit-state.ts';
import { microseconds, parseTimeSpan } from '../../systemd/values.ts';
import type { DeployWorkerFacts } from './look.ts';
import { whyCodeDiffers } from './restart-reasons.ts';
import { undoWatch } from './steps.ts';

/** What happens to the units that run the app's code beside the worker. */
export interface CompanionPlan {
  /** Before anything else, so that they are undone last. */
  readonly guards: readonly GuardCompanion[];
  /** After the worker's proof. */
  readonly restarts: readonly RestartCompanion[];
  readonly satisfied: readonly string[];
  readonly findings: readonly Finding[];
}

/**
 * The units of `also-restart` get code that is newer than they are. Other services that run from the
 * same checkout keep theirs, and are named.
 *
 * @param codeChanges whether this plan brings other code or dependencies
 * @throws ConfigError when a unit is missing, runs tasks, or cannot be reloaded
 */
export function planCompanions(
  { companions, code, unit: worker }: DeployWorkerFacts,
  desired: DeployWorkerDesired,
  codeChanges: boolean,
): CompanionPlan {
  const guards: GuardCompanion[] = [];
  const restarts: RestartCompanion[] = [];
  const satisfied: string[] = [];
  const findings: Finding[] = [];
  for (const [at, companion] of (desired.companions ?? []).entries()) {
    const found = companions?.named[at];
    if (found === undefined) continue;
    const { unit: fact, startedWithThese } = found;
    refuseUnfit(companion, fact);
    const { unit, how, url } = companion;
    if (!runs(fact)) {
      const level = fact.activeState === 'failed' ? 'warning' : 'notice';
      findings.push({ level, message: `${unit} is ${fact.activeState}, so it is not restarted` });
      continue;
    }
    const older = whyCodeDiffers(fact, { newest: code.newest, startedWithThese }, 'it');
    const reason = codeChanges ? 'its code changes' : older;
    if (reason === null) {
      satisfied.push(`${unit}: runs the newest code`);
      continue;
    }
    const shared = {
      unit,
      how,
      onlyOnce: fact.processes.some(({ argv }) => runsBeat(argv)),
      minHealthySeconds: desired.minHealthySeconds,
      timeoutSeconds: timeoutOf(fact),
    };
    guards.push({
      op: 'guard-companion',
      ...shared,
      minHealthySeconds: undoWatch(desired),
      title: `record how ${unit} runs now`,
      why: `if a later step fails, it is ${ended[how]} with the code that it has now`,
    });
    restarts.push({
      op: 'restart-companion',
      ...shared,
      url,
      urlTimeoutSeconds: desired.startTimeoutSeconds,
      title: `${how} ${unit}`,
      why: `${reason}; ${downtime[how]}, then ${desired.minHealthySeconds} s without a restart${url === null ? '' : `, and an answer at ${showUrl(url)}`}`,
    });
  }
  const beside = companions?.beside ?? [];
  if (codeChanges) {
    const keeps = 'keeps the old one until it is restarted';
    findings.push(...beside.map((each) => nameBeside(each, keeps)));
  } else if (whyCodeDiffers(worker, code) !== null) {
    // Somebody else has brought the code, and may have restarted it.
    const keeps = 'keeps the old one if it was started before that changed';
    findings.push(...beside.map((each) => nameBeside(each, keeps)));
  }
  return { guards, restarts, satisfied, findings };
}

const ended = { restart: 'restarted', reload: 'reloaded' } as const;
const downtime = {
  restart: 'it is down between its stop and its start',
  reload: 'it reloads without a stop',
} as const;

const runs = ({ activeState }: UnitFact): boolean =>
  !['inactive', 'failed', 'deactivating'].includes(activeState);

function refuseUnfit({ unit, how }: Companion, fact: UnitFact): void {
  const where = 'input also-restart';
  const refuse = (problem: string, expected: string): never => {
    throw new ConfigError(where, `${unit}: ${problem}`, expected);
  };
  requireLoaded(fact, where, 'units of the app, such as shop-web.service');
  if (isWorker(fact)) {
    // It would lose tasks: only a deploy drains a worker.
    refuse(
      'it runs a Celery worker, whose tasks a plain restart would interrupt',
      `a run of deploy-worker with \`unit: ${unit}\` for it`,
    );
  }
  if (how === 'reload' && fact.properties.CanReload === 'no') {
    refuse('it cannot be reloaded: it has no ExecReload=', 'the unit without `reload`');
  }
}

const isWorker = ({ processes }: UnitFact): boolean =>
  processes.some(({ argv }) => findCeleryCall(argv).kind === 'found');

/** Operations that change the code of the app, or what it imports. */
const codeOperations: ReadonlySet<string> = new Set<Operation['op']>([
  'checkout-code',
  'switch-release',
  'install-dependencies',
]);

/**
 * Services that run from the same code when it goes back, but for those that go back with it.
 *
 * @param steps those that are undone
 */
export function nameLeftBehind(
  beside: readonly ServiceBeside[],
  steps: readonly Pick<UndoingFact['steps'][number], 'op' | 'unit'>[],
): readonly Finding[] {
  if (!steps.some(({ op }) => codeOperations.has(op))) return [];
  const guarded = steps.filter(({ op }) => op === 'guard-companion').map(({ unit }) => unit);
  const left = beside.filter(({ unit }) => !guarded.includes(unit));
  return left.map(({ unit }) => ({
    level: 'notice',
    message: `${unit} also runs from this code and keeps what it has loaded until it is restarted, which a rollback does only for the units that the release restarted: \`systemctl restart ${unit}\` on the host`,
  }));
}

function nameBeside({ unit, argv }: ServiceBeside, keeps: string): Finding {
  const isCelery = findCeleryCall(argv).kind === 'found';
  const how = isCelery
    ? `deploy it with a run of its own (\`unit: ${unit}\`)`
    : `\`also-restart: ${unit}\` restarts it after the worker`;
  return {
    level: 'notice',
    message: `${unit} also runs from this code and ${keeps}; ${how}`,
  };
}

/** Its own time-outs, and some seconds for systemd's answer. */
function timeoutOf({ properties }: UnitFact): Seconds {
  const spans = [properties.TimeoutStopUSec, properties.TimeoutStartUSec].map((span) => {
    const found = parseTimeSpan(span ?? '');
    return found === null || !Number.isFinite(found) ? 600 : found / microseconds(1);
  });
  return seconds(Math.ceil(Math.max(...spans)) + 30);
}
