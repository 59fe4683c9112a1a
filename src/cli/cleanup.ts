import { randomUUID } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { homedir, hostname, userInfo } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { LocalConnection } from '../adapters/local-connection.ts';
import { openSqliteStore } from '../adapters/sqlite-store.ts';
import { openAgent } from '../adapters/ssh-agent-session.ts';
import type { CleanupValues } from '../config/action-inputs.ts';
import type { CleanUpDesired } from '../config/cleanup-desired.ts';
import { cleanUpDesired } from '../config/cleanup-inputs.ts';
import { readInputs } from '../config/read-inputs.ts';
import { hostProgram } from '../generated/host-program.ts';
import { type CleanUp, planCleanUp } from '../jobs/clean-up.ts';
import { countRepaired, reportSkipped } from '../jobs/clean-up-outcome.ts';
import { ConfigError } from '../model/errors.ts';
import type { Finding, Plan } from '../model/operation.ts';
import type { Outcome, TransactionMeta } from '../model/outcome.ts';
import type { Agent } from '../ports/agent.ts';
import { outcomeToHostError } from '../report/failure.ts';
import { renderPlanText } from '../report/plan-view.ts';
import { formatDuration } from '../report/quantities.ts';
import { describeOutcome } from '../report/summary.ts';
import { type ExitCode, exitCodes } from './exit-code.ts';
import { type GivenFlags, inputsFor, parseFlags } from './flags.ts';
import { restore } from './restore.ts';
import { progressTo, type Terminal } from './terminal.ts';

/**
 * `celeriac cleanup`: stuck jobs are found, shown and, unless it is a dry run, repaired.
 *
 * @param interrupted ends the connection; what was begun on the host goes on to its end there
 * @throws ConfigError, HostError
 */
export async function cleanUp(
  words: readonly string[],
  terminal: Terminal,
  interrupted: AbortSignal,
): Promise<ExitCode> {
  const flags = parseFlags(words);
  const values = readInputs(inputsFor(flags.has('host')), givenBy(flags), new Map());
  const inputs = values as unknown as CleanupValues;
  const holder = `${userInfo().username}@${hostname()}`;
  const desired = cleanUpDesired(inputs, holder);
  await using agent = await openAgent(connectionOf(flags, inputs, terminal), terminal.note);
  interrupted.addEventListener('abort', () => void agent.close());
  const meta = metaOf(inputs, holder);
  if (inputs.restore !== '') return await restore(agent, inputs.restore, desired, meta, terminal);
  const tell = progressTo(terminal);
  const tools = { agent, openStore: openSqliteStore, newTaskId: randomUUID, onProgress: tell };
  const found = await planCleanUp(tools, desired);
  if (!flags.has('json')) showPlan(found, desired, terminal);
  const outcome = await carryOut(agent, found, desired, meta, terminal, interrupted);
  if (flags.has('json')) terminal.out(`${JSON.stringify(describe(found, outcome), null, 2)}\n`);
  else terminal.out(`${describeOutcome(found.plan, outcome)}\n`);
  if (outcome !== null && outcome.result !== 'committed') {
    throw outcomeToHostError(outcome, found.plan.operations);
  }
  return judge(found.plan, outcome, terminal);
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
    terminal.note(`they are looked at again in ${formatDuration(pauseSeconds)}: what moves, lives`);
    await wait(pauseSeconds * 1000, undefined, { signal: interrupted });
  }
  return agent.apply(plan.operations, meta, progressTo(terminal, plan));
}

function showPlan(found: CleanUp, { dryRun }: CleanUpDesired, terminal: Terminal): void {
  for (const { database, lines } of found.mappings) {
    terminal.note(`${database} is read so:`);
    for (const line of lines) terminal.note(`  ${line}`);
  }
  terminal.out(`${renderPlanText(found.plan)}\n`);
  if (dryRun) terminal.note('dry run: nothing is changed');
}

/** The document of `--json`. */
export function describe({ repairs, plan }: CleanUp, outcome: Outcome | null) {
  const rows = repairs.flatMap(({ database, rows }) => rows.map((row) => ({ database, ...row })));
  const findings: readonly Finding[] = [
    ...plan.findings,
    ...(outcome === null ? [] : reportSkipped(outcome)),
  ];
  return {
    found: rows.length,
    repaired: outcome === null ? 0 : countRepaired(outcome),
    result: outcome?.result ?? null,
    transaction: outcome?.result === 'committed' ? outcome.transaction : null,
    rows,
    findings,
  };
}

/** Texts of the inputs; those that hold a key or a pin are read from their files. */
function givenBy(flags: GivenFlags): (name: string) => string {
  const home = join(homedir(), '.ssh');
  return (name) => {
    if (!flags.has('host')) return flags.get(name) ?? '';
    if (name === 'ssh-key') {
      const standard = ['id_ed25519', 'id_rsa'].map((file) => join(home, file));
      const chosen = flags.get('ssh-key-file') ?? standard.find((file) => existsSync(file));
      return readFile('ssh-key-file', chosen ?? standard[0] ?? '');
    }
    if (name === 'known-hosts') {
      return readFile(
        'known-hosts-file',
        flags.get('known-hosts-file') ?? join(home, 'known_hosts'),
      );
    }
    if (name === 'ssh-key-passphrase') return process.env.CELERIAC_SSH_KEY_PASSPHRASE ?? '';
    return flags.get(name) ?? '';
  };
}

function readFile(flag: string, path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    const problem = `${path} can't be read`;
    throw new ConfigError(`--${flag}`, problem, 'the path of a file that is there', { cause });
  }
}

function connectionOf(flags: GivenFlags, inputs: CleanupValues, terminal: Terminal) {
  if (flags.has('host')) {
    const { host, port, user } = inputs;
    const login = { key: inputs['ssh-key'], passphrase: inputs['ssh-key-passphrase'] };
    const target = { host, port, user, ...login, knownHosts: inputs['known-hosts'] };
    return { target, policy: { connectTimeout: inputs['connect-timeout'] }, program: hostProgram };
  }
  const { username, uid } = userInfo();
  const root = uid === 0 || flags.get('sudo') !== 'true';
  if (uid !== 0 && root && !inputs['dry-run']) {
    terminal.note(`as ${username} only a dry run is possible: --sudo works as root`);
  }
  const target = { host: 'this machine', port: 0, user: root ? 'root' : username };
  return {
    target: { ...target, key: '', knownHosts: '' },
    program: hostProgram,
    connect: async () => new LocalConnection(username),
  };
}

const metaOf = (inputs: CleanupValues, holder: string): TransactionMeta => ({
  action: 'cleanup',
  holder,
  sha: '',
  actor: userInfo().username,
  lockTimeoutSeconds: inputs['lock-timeout'],
});
