import type { CleanUpDesired } from '../config/cleanup-desired.ts';
import { findStuck, judgeByEvidence } from '../jobs/judge/dead-rows.ts';
import { type Evidence, listTasks, readEvidence } from '../jobs/judge/liveness.ts';
import type { RecordedStop } from '../jobs/judge/recorded-stop.ts';
import type { StuckRows } from '../jobs/judge/staleness.ts';
import { spellingsOf } from '../jobs/tables/task-ids.ts';
import { byName } from '../model/by-name.ts';
import { HostError } from '../model/errors.ts';
import type { TasksFact } from '../model/facts/broker.ts';
import type { UnitFact } from '../model/facts/unit.ts';
import type { AskingTheApp } from '../model/operation/app.ts';
import { isAtRest } from '../systemd/unit-state.ts';
import type { CopyTools, StoreCopy } from './copy-stores.ts';

/** Who can be asked, and what is known. */
export interface Asked {
  readonly unit: UnitFact | null;
  readonly app: AskingTheApp | null;
  readonly stop: RecordedStop | null;
}

/** The rows that are stuck by all available evidence, and findings about the others. */
export async function findDead(
  tools: CopyTools,
  copies: readonly StoreCopy[],
  { unit, app, stop }: Asked,
  desired: CleanUpDesired,
): Promise<{ readonly found: readonly StuckRows[]; readonly evidence: Evidence | null }> {
  if (desired.evidence === 'age' || unit === null || app === null) {
    return { found: findStuck(copies, false, desired), evidence: null };
  }
  const seemsStopped = stop === null && isAtRest(unit);
  const suspects = findStuck(copies, seemsStopped, desired, stop);
  if (suspects.every(({ stuck }) => stuck.length === 0)) return { found: suspects, evidence: null };
  const asked = listTasks(suspects.flatMap((one) => one.stuck));
  const evidence = readEvidence(app.unit, await askForTasks(tools, app, asked), stop);
  // It may have been started in the meantime.
  const stopped = seemsStopped && evidence.worker === 'stopped';
  const found = stopped === seemsStopped ? suspects : findStuck(copies, stopped, desired, stop);
  return { found: found.map((one) => judgeByEvidence(one, evidence, desired)), evidence };
}

/** Limit of tasks per request. */
const tasksAtOnce = 5000;

async function askForTasks(
  { agent, onProgress = () => {} }: CopyTools,
  app: AskingTheApp,
  ids: readonly string[],
): Promise<TasksFact & { kind: 'told' }> {
  onProgress({
    kind: 'note',
    message: `asking ${app.unit} and its broker about the tasks of jobs`,
  });
  const told: (TasksFact & { kind: 'told' })[] = [];
  const spelled = ids.flatMap(spellingsOf);
  for (let at = 0; at === 0 || at < spelled.length; at += tasksAtOnce) {
    const asked = spelled.slice(at, at + tasksAtOnce);
    const { tasks } = await agent.look({ tasks: { ...app, ids: asked } });
    if (tasks.kind === 'unknown') throw nothingKnown(tasks, app);
    told.push(tasks);
  }
  return {
    kind: 'told',
    worker: told.every(({ worker }) => worker === 'stopped') ? 'stopped' : 'answers',
    owed: told.flatMap(({ owed }) => owed),
    held: told.flatMap(({ held }) => held),
    begun: byName(told.flatMap(({ begun = {} }) => Object.entries(begun))),
    holding: Math.max(...told.map(({ holding }) => holding)),
    waiting: Math.max(...told.map(({ waiting }) => waiting)),
    hidden: told.map(({ hidden }) => hidden).find((why) => why !== null) ?? null,
  };
}

function nothingKnown(
  { problem, evidence = [] }: TasksFact & { kind: 'unknown' },
  { unit }: AskingTheApp,
): HostError {
  return new HostError(`cannot tell which jobs are stuck; nothing was changed: ${problem}`, {
    step: 'ask the worker and its broker about the tasks of jobs',
    evidence,
    next: `check ${unit}: \`systemctl status ${unit}\`, \`journalctl -u ${unit} -n 50\`; if worker and broker can never be asked, \`evidence: age\` decides by the age of jobs alone`,
  });
}
