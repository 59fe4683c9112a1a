import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { setTimeout as wait } from 'node:timers/promises';
import type { AgentOptions } from '../adapters/agent/agent-options.ts';
import { openSqliteStore } from '../adapters/sqlite-store.ts';
import type { OnNote } from '../adapters/ssh/ssh-session.ts';
import type { CleanupValues } from '../config/action-inputs.ts';
import type { CleanUpDesired } from '../config/cleanup-desired.ts';
import { cleanUpDesired } from '../config/cleanup-inputs.ts';
import { readInputs } from '../config/read-inputs.ts';
import { countRepaired, reportSkipped } from '../jobs/repair/clean-up-outcome.ts';
import type { CleanUp } from '../jobs/repair/clean-up-plan.ts';
import type { Finding, Plan } from '../model/operation.ts';
import type { Outcome, TransactionMeta } from '../model/outcome.ts';
import type { Agent } from '../ports/agent.ts';
import { outcomeToHostError } from '../report/failure.ts';
import { renderPlanText } from '../report/plan-view.ts';
import { formatDuration } from '../report/quantities.ts';
import { describeOutcome } from '../report/summary.ts';
import { planCleanUp } from '../use-case/clean-up.ts';
import { connectionOf, givenBy, type Person } from './connection.ts';
import { type ExitCode, exitCodes } from './exit-code.ts';
import { inputsFor, parseFlags } from './flags.ts';
import { restore } from './restore.ts';
import { progressTo, type Terminal } from './terminal.ts';

/** Everything that a command needs from outside. */
export interface CommandTools {
  readonly terminal: Terminal;
  /** Closes the connection; work that has begun on the host continues there. */
  readonly interrupted: AbortSignal;
  readonly person: Person;
  readonly openAgent: (options: AgentOptions, onNote: OnNote) => Promise<Agent>;
}

/**
 * `celeriac cleanup`: finds stuck jobs, shows them and, unless this is a dry run, repairs them.
 *
 * @throws ConfigError, HostError; any error once it was interrupted
 */
export async function cleanUp(words: readonly string[], tools: CommandTools): Promise<ExitCode> {
  const { terminal, interrupted, person } = tools;
  const flags = parseFlags(words);
  const values = readInputs(inputsFor(flags.has('host')), givenBy(flags), new Map());
  const inputs = values as unknown as CleanupValues;
  const holder = `${person.name}@${hostname()}`;
  const desired = cleanUpDesired(inputs, holder);
  await using agent = await open(connectionOf(flags, inputs, person), tools);
  interrupted.addEventListener('abort', () => void agent.close());
  const meta = metaOf(inputs, holder, person);
  if (inputs.restore !== '') return await restore(agent, inputs.restore, desired, meta, terminal);
  const tell = progressTo(terminal);
  const use = { agent, openStore: openSqliteStore, newTaskId: randomUUID, onProgress: tell };
  const found = await planCleanUp(use, desired);
  if (!flags.has('json')) showPlan(found, desired, terminal);
  const outcome = await carryOut(agent, found, desired, meta, terminal, interrupted);
  if (flags.has('json')) terminal.out(`${JSON.stringify(describe(found, outcome), null, 2)}\n`);
  else terminal.out(`${describeOutcome(found.plan, outcome)}\n`);
  if (outcome !== null && outcome.result !== 'committed') {
    throw outcomeToHostError(outcome, found.plan.operations);
  }
  return judge(found.plan, outcome, terminal);
}

/** Interrupting a slow login takes effect at once. */
async function open(options: AgentOptions, tools: CommandTools): Promise<Agent> {
  const { terminal, interrupted } = tools;
  interrupted.throwIfAborted();
  const opening = tools.openAgent(options, terminal.note);
  const aborted = new Promise<never>((_, reject) => {
    interrupted.addEventListener('abort', () => reject(interrupted.reason), { once: true });
  });
  try {
    return await Promise.race([opening, aborted]);
  } catch (error) {
    opening.then(
      (agent) => agent.close(),
      () => {},
    );
    throw error;
  }
}

function judge(plan: Plan, outcome: Outcome | null, terminal: Terminal): ExitCode {
  if (outcome === null) return plan.operations.length > 0 ? exitCodes.found : exitCodes.done;
  const left = reportSkipped(outcome);
  for (const { message } of left) terminal.note(`warning: ${message}`);
  return left.length > 0 ? exitCodes.left : exitCodes.done;
}

async function carryOut(
  agent: Agent,
  { plan, pauseSeconds }: CleanUp,
  { dryRun }: CleanUpDesired,
  meta: TransactionMeta,
  terminal: Terminal,
  interrupted: AbortSignal,
): Promise<Outcome | null> {
  if (dryRun || plan.operations.length === 0) return null;
  if (pauseSeconds > 0) {
    terminal.note(
      `the jobs will be checked again in ${formatDuration(pauseSeconds)}; those that change until then are skipped`,
    );
    await wait(pauseSeconds * 1000, undefined, { signal: interrupted });
  }
  return agent.apply(plan.operations, meta, progressTo(terminal, plan));
}

function showPlan(found: CleanUp, { dryRun }: CleanUpDesired, terminal: Terminal): void {
  for (const { database, lines } of found.mappings) {
    terminal.note(`${database}: tables of jobs`);
    for (const line of lines) terminal.note(`  ${line}`);
  }
  terminal.out(`${renderPlanText(found.plan)}\n`);
  if (dryRun) terminal.note('dry run: nothing was changed');
}

/** The output of `--json`. */
export function describe({ repairs, plan, mappings }: CleanUp, outcome: Outcome | null) {
  const rows = repairs.flatMap(({ database, rows }) => rows.map((row) => ({ database, ...row })));
  const findings: readonly Finding[] = [
    ...plan.findings,
    ...(outcome === null ? [] : reportSkipped(outcome)),
  ];
  return {
    databases: mappings.map(({ database }) => database),
    found: rows.length,
    repaired: outcome === null ? 0 : countRepaired(outcome),
    result: outcome?.result ?? null,
    transaction: outcome?.result === 'committed' ? outcome.transaction : null,
    rows,
    findings,
  };
}

const metaOf = (inputs: CleanupValues, holder: string, person: Person): TransactionMeta => ({
  action: 'cleanup',
  holder,
  sha: '',
  actor: person.name,
  lockTimeoutSeconds: inputs['lock-timeout'],
});
