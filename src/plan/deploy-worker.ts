import { appUserOf } from '../celery/app-user.ts';
import { atHome } from '../celery/shell-scene.ts';
import { describeSkipped, endStrays, findStrays, identityOf } from '../celery/strays.ts';
import { otherWorkersIn } from '../celery/worker-process.ts';
import type { DeployWorkerDesired } from '../config/deploy-worker-desired.ts';
import type { UnitFact } from '../model/facts/unit.ts';
import type { Finding, Operation, Plan } from '../model/operation.ts';
import type { CodeOffer } from '../model/release.ts';
import { type Bytes, bytes } from '../model/units.ts';
import { isAtRest } from '../systemd/unit-state.ts';
import { describeRoot, fileUserOf } from './app-user.ts';
import { planRelease } from './code/release.ts';
import { interpreterAlone, requireAppProcess } from './deploy/app-process.ts';
import { warnOfBeats } from './deploy/beats.ts';
import { runBeforeStart } from './deploy/before-start.ts';
import { planCompanions } from './deploy/companions.ts';
import { planEnable, planInstall, verifyUnit } from './deploy/install-unit.ts';
import type { DeployWorkerFacts } from './deploy/look.ts';
import { listRestartReasons } from './deploy/restart-reasons.ts';
import { planSampler } from './deploy/sampler.ts';
import {
  drainWorker,
  guardUnit,
  knownProperties,
  proveUnit,
  startUnit,
  stopUnit,
  tryApp,
} from './deploy/steps.ts';
import { describeHost, describeMemory, describeMode, describeSatisfied } from './deploy/summary.ts';
import { planSupport } from './deploy/support-module.ts';
import { planLeftovers } from './leftovers.ts';
import { chooseLimits } from './limits/choose-limits.ts';
import { judgePerChild } from './limits/per-child.ts';
import { compareTogether } from './limits/together.ts';
import { measureWorker } from './limits/worker-size.ts';
import { describeSuperseded, describeUndoFailure } from './past.ts';
import { unitContext } from './unit/unit-context.ts';
import { readSource } from './unit/unit-source.ts';
import { extendWorkerUnit, rewriteWorkerUnit, type WorkerUnit } from './unit/worker-unit.ts';

/**
 * Plans how the host gets this worker. The unit is checked before anything changes. The new definition
 * is in force before the old worker stops, so that its tasks can finish, and the app is tried in it. Stray
 * workers end while the old worker serves: they may take as long as their tasks. New code is prepared
 * before all that and put in place right before the stop, because the old worker may still import it.
 * Other units of the app follow after the worker's proof, and go back with it.
 *
 * @param offer the code that the run brings; `null`: none
 * @throws ConfigError when the unit cannot be read or must not be edited, or inputs contradict
 */
export function planDeployWorker(
  facts: DeployWorkerFacts,
  asked: DeployWorkerDesired,
  offer: CodeOffer | null = null,
): Plan {
  const source = readSource(facts, asked);
  const limits = chooseLimits(source, facts, asked);
  const { memoryMaxBytes, memoryHighBytes } = limits;
  const desired = { ...asked, memoryMaxBytes, memoryHighBytes };
  const change = source.mode === 'rewrite' ? rewriteWorkerUnit : extendWorkerUnit;
  const unit = explainLimit(
    change(source, desired, unitContext(facts, desired.longestTaskSeconds)),
    limits.why,
  );
  const perChild = judgePerChild(
    unit.line,
    desired,
    measureWorker(facts.unit),
    memoryMaxOf(unit, facts.unit),
  );
  const app = requireAppProcess(facts.unit, unit.line, source.path, desired);
  const own = app.process;
  const { HOME: home } = facts.unit.variables ?? {};
  const workingDirectory = atHome(
    unit.line.call.workingDirectory ?? facts.unit.properties.WorkingDirectory ?? '',
    home,
  );

  const fileUser = fileUserOf(facts.unit, desired.appUser);
  const code = planRelease(facts.release, desired.release, offer, {
    unit: desired.unit,
    user: fileUser,
    workingDirectory,
    interpreter: interpreterAlone(own.interpreter),
  });
  const install = planInstall(source, unit, facts, desired);
  const support = planSupport(facts.files, desired);
  const enable = planEnable(facts.unit, unit, desired);
  const strays = findStrays(facts.workers, identityOf(facts.unit, own.app, app.workingDirectory));
  const asking = { ...own, otherWorkers: otherWorkersIn(app.workingDirectory) };
  const leftovers = planLeftovers(asking, facts.stores, desired);

  const known = knownProperties(unit, facts.unit);
  const reasons = listRestartReasons(facts, desired, unit, known, {
    unit: install?.rewritten ?? false,
    support: support !== null,
    release: code,
  });
  const byUser = { ...own, user: appUserOf(facts.unit) };
  const endings = endStrays(byUser, strays.strays, desired.strays.graceSeconds);
  const prove = proveUnit(unit, known, facts, desired);
  const companions = planCompanions(facts, desired, code.reasons.length > 0);
  const beforeStart = runBeforeStart(own, code.trial, desired);
  const isRunning = facts.unit.activeState === 'active';
  const tryWhen = (when: typeof code.trial.when): readonly Operation[] =>
    code.trial.when === when ? [tryApp(own, unit.line, desired, code.trial, isRunning)] : [];

  const prepare: readonly Operation[] = [
    ...code.prepare,
    ...(support ? [support] : []),
    ...(install?.operations ?? []),
    ...(enable ? [enable] : []),
  ];
  const restart: readonly Operation[] = [
    // Check, while nothing has changed yet.
    ...(install?.rewritten ? [verifyUnit(source, unit, desired)] : []),
    ...(prepare.length > 0 ? [] : tryWhen('prepared')),
    // Prepare, while the old worker serves. The guard is undone last, so that the worker returns to
    // the code and the dependencies that it had.
    ...companions.guards,
    guardUnit(own, facts.unit, desired),
    ...prepare,
    // Try the app in the environment of the new unit. If it fails, only files have changed.
    ...(prepare.length > 0 ? tryWhen('prepared') : []),
    ...(code.trial.when === 'in-place' ? [] : beforeStart),
    // End strays while the worker still serves, so that nobody who starts some can keep it stopped.
    ...endings,
    // Drain, and replace the code in place as late as possible.
    ...(isRunning ? [drainWorker(own, unit, desired)] : []),
    ...code.inPlace,
    ...tryWhen('in-place'),
    ...(code.trial.when === 'in-place' ? beforeStart : []),
    // Restart: nothing consumes between the stop and the start.
    ...(isAtRest(facts.unit) ? [] : [stopUnit(own, unit, reasons, desired)]),
    ...leftovers.beforeStart,
    ...code.swap,
    startUnit(own, unit, reasons, desired),
    // Prove; steps that need no downtime come after.
    prove,
    ...leftovers.afterProof,
    ...companions.restarts,
    ...code.finish,
  ];
  const leaveRunning: readonly Operation[] = [
    ...companions.guards,
    ...(enable ? [enable] : []),
    ...endings,
    ...(endings.length > 0 ? [prove] : []),
    ...companions.restarts,
  ];

  const steps = reasons.length > 0 ? restart : leaveRunning;
  const sampler = planSampler(desired, workingDirectory, facts.sampling);
  // Last: only a release that changes something is sampled.
  const operations = steps.length > 0 && sampler !== null ? [...steps, sampler] : steps;
  const faults = foldAccepted(unit.findings, install?.rewritten ?? false);
  return {
    operations,
    satisfied: [
      ...describeSatisfied({
        facts,
        desired,
        unit,
        install,
        support,
        enable,
        restart: reasons.length > 0,
        strays,
      }),
      ...faults.folded,
      ...code.satisfied,
      ...companions.satisfied,
    ],
    findings: [
      ...describeMode(source, desired),
      ...faults.findings,
      ...(code.reasons.length > 0 ? describeRoot(facts.unit, fileUser) : []),
      ...code.findings,
      ...limits.findings,
      ...perChild,
      ...companions.findings,
      ...(facts.companions === undefined
        ? []
        : warnOfBeats(facts.companions, { unit: desired.unit, hasBeat: unit.line.call.beat })),
      ...describeMemory(facts, desired),
      ...compareTogether(facts, memoryMaxOf(unit, facts.unit)),
      ...describeSkipped(strays),
      ...describeHost(facts, desired, unit),
      ...describeUndoFailure(facts.transactions),
      ...(operations.length > 0 ? describeSuperseded(facts.past, facts.unit.name) : []),
    ],
  };
}

/** Accepted faults are told when the unit is written; afterwards one line has their titles. */
function foldAccepted(findings: readonly Finding[], rewritten: boolean) {
  const titles = findings.flatMap(({ accepted }) => accepted ?? []);
  if (rewritten || titles.length === 0) return { findings, folded: [] };
  return {
    findings: findings.filter(({ accepted }) => accepted === undefined),
    folded: [`accepted by \`accept-rules\`: ${[...new Set(titles)].join('; ')}`],
  };
}

/** What the unit rules need to know about the host. */
/** The arithmetic of a limit that nobody asked for is part of the reason of the change. */
function explainLimit(unit: WorkerUnit, why: string | null): WorkerUnit {
  if (why === null) return unit;
  const changes = unit.changes.map((change) =>
    change.startsWith('MemoryMax ') ? `${change} (${why})` : change,
  );
  return { ...unit, changes };
}

/** The limit that systemd will enforce; `null`: none, or not known in bytes. */
function memoryMaxOf({ properties }: WorkerUnit, present: UnitFact): Bytes | null {
  // A percentage stays as it is, and systemd has calculated it.
  const text = properties.MemoryMax ?? present.properties.MemoryMax ?? '';
  return /^\d+$/.test(text) ? bytes(Number(text)) : null;
}
