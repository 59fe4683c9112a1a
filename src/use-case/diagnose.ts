import { readVerifyDesired } from '../config/verify-desired.ts';
import type { Report } from '../model/report.ts';
import type { EpochSeconds, Seconds } from '../model/units.ts';
import { unitRuleChecks } from '../plan/unit/unit-rule-checks.ts';
import type { Agent } from '../ports/agent.ts';
import { describeVerdict } from '../report/summary.ts';
import { unknownCheck } from '../verify/check.ts';
import { own, ownCommands, ownUrls } from '../verify/checks/own.ts';
import { reportSubject } from './keep-report.ts';
import { lookThrough } from './look-through.ts';
import type { ActionRun } from './run.ts';
import { straysOf } from './strays-of.ts';
import { searchStuckRows } from './stuck-in-app.ts';
import { verifyHost } from './verify-host.ts';
import { gatherReport } from './verify-report.ts';

/** What the unit rules are told. */
export interface RuleWishes {
  readonly longestTaskSeconds: Seconds;
  /** Ids of rules whose faults are accepted. */
  readonly accepted: readonly string[];
}

/**
 * What is wrong with a worker, and what to do about it: the checks of verify and the unit rules, from
 * facts. In a dry run nothing is sent; otherwise the probes of the gate are sent, as asked. No command is
 * run, nothing is confirmed, and nothing on the host is changed.
 *
 * @throws ConfigError when there is no such unit
 * @throws HostError when the host cannot be reached
 */
export async function diagnose(
  run: ActionRun<'verify'>,
  agent: Agent,
  rules: RuleWishes,
): Promise<Report> {
  const { inputs } = run;
  const { ownChecks, ...wishes } = readVerifyDesired(inputs);
  // Nobody knows what a command does.
  const desired = { ...wishes, ownChecks: ownUrls(ownChecks) };
  const ports = {
    agent: lookThrough(run, agent),
    onProgress: run.onProgress(),
    pause: (pause: Parameters<typeof run.pause>[0]) => run.pause(pause),
    findStrays: straysOf,
    findStuckRows: (since: EpochSeconds | null) => searchStuckRows(agent, inputs, since),
  };
  const { verdict: judged, evidence } = await verifyHost(ports, desired);
  const found = unitRuleChecks(evidence.before, rules);
  const isSevere = found.some(({ verdict }) => verdict === 'fail');
  // That no probe was sent is what was asked for.
  const asked = judged.checks.filter(({ id }) => !(desired.gate.kind === 'none' && id === 'gate'));
  const notRun = ownCommands(ownChecks).map(({ name }) =>
    unknownCheck({ id: own.id, title: name }, 'not run: only `celeriac verify` runs commands'),
  );
  const verdict = {
    conclusion: isSevere ? ('unhealthy' as const) : judged.conclusion,
    checks: [...asked, ...notRun, ...found],
  };
  const sentence = describeVerdict(verdict);
  return gatherReport(agent, { ...reportSubject(run), verdict, evidence, sentence });
}
