import { brokerUnreachable, stopMarginSeconds, visibilityTimeout } from '../../celery/app-rules.ts';
import type { WorkerLine } from '../../celery/worker-line.ts';
import type { DeployWorkerDesired } from '../../config/deploy-worker-desired.ts';
import type { UnitFact } from '../../model/facts/unit.ts';
import type { ByTheApp } from '../../model/operation/app.ts';
import type { Operation } from '../../model/operation.ts';
import { formatCount, formatDuration } from '../../model/quantities.ts';
import { type Seconds, seconds } from '../../model/units.ts';
import { isExpanded } from '../../systemd/exec-line.ts';
import { purgeOptions, purgeRules } from '../../systemd/rules/purge.ts';
import { microseconds, parseTimeSpan } from '../../systemd/values.ts';
import type { Trial } from '../code/release-plan.ts';
import { countChildren, type WorkerUnit } from '../unit/worker-unit.ts';
import type { DeployWorkerFacts } from './look.ts';

/** Tries the app in the environment that its unit gives it, with the support module. */
export function tryApp(
  own: ByTheApp,
  line: WorkerLine,
  desired: DeployWorkerDesired,
  trial: Trial,
  isRunning: boolean,
): Operation {
  const instead = trial.when === 'prepared' ? trial.instead : null;
  const unwanted = unwantedWords(line, desired);
  const { unit, interpreter, app } = own;
  const { workingDirectory } = line.call;
  return {
    op: 'try-app',
    unit,
    interpreter,
    app,
    modules: [desired.supportModule.name],
    directory: workingDirectory === null || isExpanded(workingDirectory) ? null : workingDirectory,
    ...(instead !== null && { instead }),
    ...(unwanted !== null && { unwanted }),
    visibility: visibilityOf(desired),
    ...(isRunning && { broker: brokerOf(desired) }),
    timeoutSeconds: desired.startTimeoutSeconds,
    title: `import ${own.app}${instead === null ? '' : ` of ${instead.to}`} as the worker would`,
    why: 'an app that cannot be imported must not replace the running worker',
  };
}

/** The rule `purge` cannot see what an EnvironmentFile= gives to the variables of the command. */
function unwantedWords({ entry }: WorkerLine, { acceptedRules }: DeployWorkerDesired) {
  const names = entry.value.matchAll(/(?<!\$)\$(?:\{([A-Za-z_]\w*)[}:]|([A-Za-z_]\w*))/g);
  const variables = [...new Set([...names].map(([, inBraces, bare]) => inBraces ?? bare ?? ''))];
  const rule = purgeRules.find(({ id }) => !acceptedRules.includes(id));
  if (variables.length === 0 || rule === undefined) return null;
  const { id, why, fix } = rule;
  const otherwise = `; or accept-rules: ${id} to deploy it as it is`;
  return { variables, words: purgeOptions, why, fix: fix + otherwise };
}

/** Only a process of the app can tell its visibility timeout, and this step is one. */
function visibilityOf({ longestTaskSeconds, acceptedRules }: DeployWorkerDesired) {
  const { id, why, fix } = visibilityTimeout;
  return {
    atLeastSeconds: longestTaskSeconds,
    refuse: !acceptedRules.includes(id),
    why,
    fix: `write ${fix}, e.g. app.conf.broker_transport_options = {'visibility_timeout': ${longestTaskSeconds + stopMarginSeconds}}; or correct longest-task; or accept it with accept-rules: ${id}`,
  };
}

/** A worker that does not run has nothing to lose: it may be started before its broker. */
function brokerOf({ unit, acceptedRules }: DeployWorkerDesired) {
  const { id, why, fix } = brokerUnreachable;
  return {
    refuse: !acceptedRules.includes(id),
    why,
    fix: `${fix}; ${unit} keeps running, and connects by itself once its broker is back; or restart it all the same with accept-rules: ${id}`,
  };
}

/** An undo must not hold the host's lock for as long as a proof may take. */
const longestUndoWatch = seconds(20);

/** How long a unit that an undo has started is watched. */
export const undoWatch = ({ minHealthySeconds }: DeployWorkerDesired): Seconds =>
  seconds(Math.min(minHealthySeconds, longestUndoWatch));

export function guardUnit(
  own: ByTheApp,
  { properties }: UnitFact,
  desired: DeployWorkerDesired,
): Operation {
  const spans = [properties.TimeoutStopUSec, properties.TimeoutStartUSec];
  const longest = spans.reduce((sum, span) => sum + secondsOf(span), 0);
  return {
    op: 'guard-unit',
    ...own,
    undoTimeoutSeconds: seconds(longest + answerSeconds),
    minHealthySeconds: undoWatch(desired),
    title: `record how ${own.unit} runs now`,
    why: 'if a later step fails, the unit is returned to this state',
  };
}

const whenTimeIsUp = {
  proceed: 'then its stop waits for the rest',
  abort: 'then the deploy fails and the old worker keeps running',
  wait: 'and longer while tasks keep finishing',
} as const;

export function drainWorker(
  own: ByTheApp,
  unit: WorkerUnit,
  desired: DeployWorkerDesired,
): Operation {
  const { timeoutSeconds, policy } = desired.drain;
  const until = formatDuration(timeoutSeconds);
  return {
    op: 'drain-worker',
    ...own,
    timeoutSeconds,
    policy,
    stuckSeconds: seconds(desired.longestTaskSeconds + stopMarginSeconds),
    undoTimeoutSeconds: stopLimit(unit, desired),
    title: `drain ${desired.unit}`,
    why: `running tasks have ${until} to finish while it takes no new ones, ${whenTimeIsUp[policy]}`,
  };
}

/** The agent waits longer than systemd's own limit, so that systemd's answer is reported. */
const answerSeconds = 30;

export function stopUnit(
  own: ByTheApp,
  unit: WorkerUnit,
  reasons: readonly string[],
  desired: DeployWorkerDesired,
): Operation {
  return {
    op: 'stop-unit',
    ...own,
    timeoutSeconds: stopLimit(unit, desired),
    undoTimeoutSeconds: stopLimit(unit, desired),
    title: `stop ${desired.unit}`,
    why: `${reasons.join(', ')}; running tasks have ${words(unit.stopMicroseconds)} to finish`,
  };
}

const words = (span: number): string =>
  Number.isFinite(span) ? formatDuration(span / microseconds(1)) : 'unlimited time';

/** A time-out as systemd prints it; an hour if it is infinite or not printed. */
export function secondsOf(span: string | undefined): number {
  const found = parseTimeSpan(span ?? '');
  return found === null || !Number.isFinite(found) ? 3600 : Math.ceil(found / microseconds(1));
}

const stopLimit = (unit: WorkerUnit, desired: DeployWorkerDesired): Seconds =>
  limit(unit.stopMicroseconds, desired.longestTaskSeconds + stopMarginSeconds);

function limit(waitedFor: number, otherwise: number): Seconds {
  const whole = Number.isFinite(waitedFor) ? Math.ceil(waitedFor / microseconds(1)) : otherwise;
  return seconds(whole + answerSeconds);
}

export function startUnit(
  own: ByTheApp,
  unit: WorkerUnit,
  reasons: readonly string[],
  desired: DeployWorkerDesired,
): Operation {
  return {
    op: 'start-unit',
    ...own,
    timeoutSeconds: limit(unit.startMicroseconds, desired.startTimeoutSeconds),
    undoTimeoutSeconds: stopLimit(unit, desired),
    title: `start ${desired.unit}`,
    why: reasons.join(', '),
  };
}

export function proveUnit(
  unit: WorkerUnit,
  known: Readonly<Record<string, string>>,
  facts: DeployWorkerFacts,
  desired: DeployWorkerDesired,
): Operation {
  const children = countChildren(unit.line, facts.host.cpus);
  const processes =
    children === null
      ? '1 main process'
      : `1 main process with ${formatCount(children, 'child process', 'child processes')}`;
  return {
    op: 'prove-unit',
    unit: desired.unit,
    properties: known,
    children,
    minHealthySeconds: desired.minHealthySeconds,
    timeoutSeconds: desired.startTimeoutSeconds,
    ...(desired.hardening !== 'off' && { exposure: { before: facts.unit.exposure ?? null } }),
    title: `prove that ${desired.unit} runs as requested`,
    why: `${processes}, no restart for ${desired.minHealthySeconds} s, every limit in force`,
  };
}

/** An older systemd lacks some properties; those that it does not print cannot be proved. */
export function knownProperties(
  unit: WorkerUnit,
  fact: UnitFact,
): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries(unit.properties).filter(([name]) => name in fact.properties),
  );
}
