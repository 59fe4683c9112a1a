import { globSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as core from '@actions/core';
import { z } from 'zod';
import { writeFolder } from '../adapters/write-folder.ts';
import { checkFleet, isPinned } from '../config/check-fleet.ts';
import { type Fleet, parseFleet } from '../config/fleet-file.ts';
import { fleetInputs } from '../config/fleet-inputs.ts';
import type { ValuesOf } from '../config/input.ts';
import { readInputs } from '../config/read-inputs.ts';
import { rolloutInputs } from '../config/rollout-inputs.ts';
import { ConfigError } from '../model/errors.ts';
import {
  type HostEnd,
  type LegRecord,
  type PlannedRollout,
  type RolloutEnd,
  recordKinds,
} from '../model/fleet.ts';
import { concludeRollout, endsWithout, stopReason } from '../plan/fleet/conclude-rollout.ts';
import { type DeployResult, endOfDeploy, endOfRollBack } from '../plan/fleet/host-state.ts';
import { legRecord, longestWhy, recordName } from '../plan/fleet/leg-record.ts';
import { planRollout } from '../plan/fleet/plan-rollout.ts';
import { docsBase, linkFailure } from '../report/doc-links.ts';
import { renderFailure } from '../report/failure.ts';
import { describeFleet, fleetLines, renderFleetSummary } from '../report/fleet-summary.ts';
import { GithubReporter } from './github-reporter.ts';

type Values = ValuesOf<typeof fleetInputs>;

const given = (input: string): string => core.getInput(input, { trimWhitespace: false });

/** Runs a step of a rollout: none of them knows a key or connects to a host. */
export async function runFleet(): Promise<void> {
  const reporter = new GithubReporter();
  try {
    const inputs = readInputs(fleetInputs, given, new Map());
    tasks[inputs.task](inputs, reporter);
  } catch (error) {
    const view = linkFailure(renderFailure(error, { action: 'fleet' }), docsBase(process.env));
    reporter.fail(view);
    process.exitCode = 1;
  }
  await reporter.flush();
}

const tasks: Readonly<Record<Values['task'], (inputs: Values, reporter: GithubReporter) => void>> =
  {
    plan(inputs, reporter) {
      const fleet = readFleet(inputs['fleet-file']);
      const hosts = [...(fleet.hosts?.values() ?? [])];
      const rollout = readInputs(rolloutInputs, given, fleet.rollout);
      const names = hosts.map(({ name }) => name);
      const order = planRollout({ names, patterns: inputs.hosts, canary: rollout.canary });
      const chosen = [...order.canary, ...order.matrices.flat()];
      checkFleet(
        fleet,
        hosts.filter(({ name }) => chosen.includes(name)),
        { keysFrom: inputs['known-hosts'].trim() === '' ? 'file' : 'workflow' },
      );
      const plan: PlannedRollout = {
        hosts: chosen,
        canaries: order.canary.length,
        maxFailures: rollout['max-failures'],
        onFailure: rollout['on-failure'],
      };
      reporter.output('plan', JSON.stringify(plan));
      reporter.output('max-parallel', String(rollout['max-parallel']));
      reporter.output('canary', JSON.stringify(order.canary));
      for (const [index, matrix] of order.matrices.entries()) {
        reporter.output(`batch-${index + 1}`, JSON.stringify(matrix));
      }
      reporter.info(`canaries: ${order.canary.join(', ') || 'none'}`);
      const rest = order.matrices.flat();
      const few = `${rollout['max-parallel']} at a time`;
      if (rest.length > 0) reporter.info(`then, ${few}: ${rest.join(', ')}`);
    },

    start(inputs, reporter) {
      const host = hostOf(inputs);
      reporter.output('known-hosts', pinsFor(inputs, host));
      if (inputs['roll-back']) {
        reporter.output('go', 'true');
        reporter.info(`${host} is about to be rolled back`);
        keepRecord(reporter, host, { state: 'unknown', failed: false, why: '' }, 'returning');
        return;
      }
      const records = readRecords(inputs.results);
      const reason = stopReason(planOf(inputs), host, records, inputs.jobs.value ?? {});
      reporter.output('go', String(reason === null));
      reporter.info(reason === null ? `${host} may start` : `${host}: ${reason}`);
      const end: HostEnd = { state: 'untouched', failed: false, why: reason ?? '' };
      keepRecord(reporter, host, end, reason === null ? 'begun' : 'stopped');
    },

    end(inputs, reporter) {
      const host = hostOf(inputs);
      const outputs = inputs.outputs.value ?? {};
      const ok = inputs.outcome === 'success';
      const superseded = outputs.result === 'superseded' ? 'superseded' : 'failed';
      const end = inputs['roll-back']
        ? endOfRollBack(ok ? 'undone' : superseded)
        : endOfDeploy(readResult(inputs));
      const kind = inputs['roll-back'] ? 'back' : 'ended';
      reporter.output('state', end.state);
      reporter.info(fleetLines([{ host, ...end }]).join('\n'));
      keepRecord(reporter, host, end, kind, outputs.transaction);
      if (ok && end.failed) {
        reporter.error(`${host}: ${end.why}`, 'fleet');
        process.exitCode = 1;
      }
    },

    keys(inputs, reporter) {
      reporter.output('known-hosts', pinsFor(inputs, hostOf(inputs)));
    },

    decide(inputs, reporter) {
      const end = conclude(inputs);
      const { matrices } = planRollout({
        names: end.back.map(({ host }) => host),
        patterns: [],
        canary: ['none'],
      });
      const transactions = new Map(end.back.map(({ host, transaction }) => [host, transaction]));
      for (const [index, matrix] of matrices.entries()) {
        const legs = matrix.map((host) => ({ host, transaction: transactions.get(host) ?? '' }));
        reporter.output(`back-${index + 1}`, JSON.stringify(legs));
      }
      for (const line of fleetLines(end.hosts)) reporter.info(line);
      const names = end.back.map(({ host }) => host).join(', ');
      reporter.info(
        names === '' ? 'no other host is rolled back' : `are rolled back, too: ${names}`,
      );
    },

    conclude(inputs, reporter) {
      const end = conclude(inputs);
      // Whoever cancels a run before it decides rolls nothing back.
      const isDecided = inputs.outcome === 'success' || inputs.outcome === 'failure';
      const hosts = isDecided ? endsWithout(end) : end.hosts;
      const { ok } = end;
      const sentence = describeFleet(hosts);
      const states = Object.fromEntries(hosts.map(({ host, state }) => [host, state]));
      reporter.output('states', JSON.stringify(states));
      for (const line of fleetLines(hosts)) reporter.info(line);
      reporter.summary(renderFleetSummary(hosts));
      if (ok) reporter.info(sentence);
      else reporter.error(sentence, 'fleet');
      if (!ok) process.exitCode = 1;
    },
  };

/** The host keys that the workflow gives; `''`: none, or the fleet file has those of the host. */
function pinsFor({ 'known-hosts': text, 'fleet-file': path }: Values, host: string): string {
  return text.trim() === '' || isPinned(readFleet(path), host) ? '' : text;
}

function readFleet(path: string): Fleet {
  let text: string;
  try {
    text = readFileSync(join(process.env.GITHUB_WORKSPACE ?? process.cwd(), path), 'utf8');
  } catch (cause) {
    const problem = `cannot read \`${path}\``;
    throw new ConfigError('input fleet-file', problem, 'a file in the repository', { cause });
  }
  const fleet = parseFleet(path, text);
  if (fleet.hosts === null) {
    throw new ConfigError(`${path}:1:1`, 'no `hosts`', '`hosts` with a name for each host');
  }
  return fleet;
}

const conclude = (inputs: Values): RolloutEnd =>
  concludeRollout(planOf(inputs), readRecords(inputs.results), inputs.jobs.value ?? {});

function planOf({ plan, task }: Values): PlannedRollout {
  if (plan.value === null) {
    throw new ConfigError('input plan', `missing \`plan\` for \`${task}\``, 'the output `plan`');
  }
  return plan.value;
}

function hostOf({ host, task }: Values): string {
  if (host !== '') return host;
  throw new ConfigError('input host', `missing \`host\` for \`${task}\``, 'the name of a host');
}

function readResult({ outputs, outcome, 'dry-run': dryRun }: Values): DeployResult {
  const { begun, result, healthy, 'rolled-back': back, transaction = '' } = outputs.value ?? {};
  const { confirmed = '', 'confirm-by': confirmBy = '' } = outputs.value ?? {};
  const results = ['committed', 'undone', 'undo-failed'] as const;
  const ends = ['success', 'failure'] as const;
  return {
    ok: outcome === 'success',
    dryRun,
    begun: begun === 'true',
    result: results.find((each) => each === result) ?? null,
    awaits: confirmBy !== '',
    healthy: healthy === 'true',
    confirmed: confirmed.split(',').includes(transaction),
    rolledBack: ends.find((each) => each === back) ?? null,
  };
}

const recordShape = z.object({
  host: z.string(),
  attempt: z.int(),
  kind: z.enum(recordKinds),
  state: z.enum(['confirmed', 'rolled-back', 'untouched', 'unknown']),
  failed: z.boolean(),
  why: z.string().max(longestWhy),
  transaction: z.union([z.literal(''), z.string().regex(/^[0-9]{8}T[0-9]{6}-[0-9a-f]{4,16}$/)]),
});

/** What the legs wrote down; a run without any has no such folder. */
function readRecords(folder: string): readonly LegRecord[] {
  return globSync('**/leg-*.json', { cwd: folder }).map((file): LegRecord => {
    try {
      return recordShape.parse(JSON.parse(readFileSync(join(folder, file), 'utf8')));
    } catch (cause) {
      const problem = `cannot read the record ${file}`;
      throw new ConfigError('input results', problem, 'records of this action', { cause });
    }
  });
}

/** Writes a record into a folder that the workflow uploads. */
function keepRecord(
  reporter: GithubReporter,
  host: string,
  end: HostEnd,
  kind: LegRecord['kind'],
  transaction = '',
): void {
  const attempt = Number(process.env.GITHUB_RUN_ATTEMPT ?? '1') || 1;
  const record = legRecord(end, { host, attempt, kind, transaction });
  const name = recordName(record);
  const files = { [`leg-${name}.json`]: `${JSON.stringify(record)}\n` };
  reporter.output('path', writeFolder(process.env.RUNNER_TEMP ?? tmpdir(), 'celeriac-leg', files));
  reporter.output('artifact', `celeriac-leg-${name}`);
}
