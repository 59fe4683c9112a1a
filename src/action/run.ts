import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import * as core from '@actions/core';
import { openAgent } from '../adapters/agent/open-agent.ts';
import { systemClock } from '../adapters/clock.ts';
import { type ActionName, actions, type HostValues, hostInputs } from '../config/action-inputs.ts';
import { type FleetValues, parseFleetFile } from '../config/fleet-file.ts';
import type { Inputs, ValuesOf } from '../config/input.ts';
import { readInputs } from '../config/read-inputs.ts';
import { hostProgram } from '../generated/host-program.ts';
import { ConfigError } from '../model/errors.ts';
import type { FactQuery, FactsFor } from '../model/facts.ts';
import type { Plan } from '../model/operation.ts';
import type { Outcome, Progress, TransactionMeta } from '../model/outcome.ts';
import type { Agent } from '../ports/agent.ts';
import { checklistOf, renderChecklistText } from '../report/checklist.ts';
import { codeFence } from '../report/escape.ts';
import { describeDeed, outcomeToHostError, renderFailure } from '../report/failure.ts';
import { renderFindings, renderPlanMarkdown, renderPlanText } from '../report/plan-view.ts';
import { formatDuration } from '../report/quantities.ts';
import {
  describeCost,
  describeOutcome,
  renderSummary,
  type SummaryContent,
} from '../report/summary.ts';
import type { About, Run } from '../use-case/run.ts';
import { GithubReporter } from './github-reporter.ts';

/** Runs an action: every failure becomes one message, one annotation and exit code 1. */
export async function runAction<Name extends ActionName>(
  name: Name,
  body: (run: Run<Name>) => Promise<void>,
): Promise<void> {
  const reporter = new GithubReporter();
  let host: string | undefined;
  try {
    const inputs = readActionInputs(name);
    host = (inputs as unknown as HostValues).host;
    await body(new ActionRun(name, inputs, reporter));
  } catch (error) {
    const view = renderFailure(error, { action: name, ...(host !== undefined && { host }) });
    const { title, message, file, line, column } = view.annotation;
    reporter.info(view.message);
    core.error(message, {
      title,
      ...(file !== undefined && { file }),
      ...(line !== undefined && { startLine: line }),
      ...(column !== undefined && { startColumn: column }),
    });
    reporter.summary(`### ${name} failed\n\n${codeFence(view.message, 'text')}`);
    process.exitCode = 1;
  }
  await reporter.flush();
}

/** Read before the others: their values may be in this file. */
const fleetInput = { 'fleet-file': hostInputs['fleet-file'] };

function readActionInputs<Name extends ActionName>(name: Name): ValuesOf<(typeof actions)[Name]> {
  const set: Inputs = actions[name];
  const given = (input: string): string => core.getInput(input, { trimWhitespace: false });
  for (const [input, { secret }] of Object.entries(set)) {
    if (secret && given(input) !== '') {
      core.setSecret(given(input));
    }
  }
  const { 'fleet-file': fleetPath } = readInputs(fleetInput, given, new Map());
  const fleet = readFleet(name, fleetPath, { required: given('fleet-file') !== '' });
  return readInputs(set, given, fleet) as ValuesOf<(typeof actions)[Name]>;
}

function readFleet(
  name: ActionName,
  path: string,
  { required }: { required: boolean },
): FleetValues {
  let text: string;
  try {
    text = readFileSync(join(process.env.GITHUB_WORKSPACE ?? process.cwd(), path), 'utf8');
  } catch (cause) {
    if (!required) {
      return new Map();
    }
    const problem = `cannot read \`${path}\``;
    throw new ConfigError('input fleet-file', problem, 'a file in the repository', { cause });
  }
  return parseFleetFile(path, text, name);
}

class ActionRun<Name extends ActionName> implements Run<Name> {
  readonly inputs: ValuesOf<(typeof actions)[Name]>;
  readonly reporter: GithubReporter;
  readonly #name: Name;
  readonly #host: HostValues;
  readonly #begun = performance.now();

  constructor(name: Name, inputs: ValuesOf<(typeof actions)[Name]>, reporter: GithubReporter) {
    this.inputs = inputs;
    this.reporter = reporter;
    this.#name = name;
    // Every action has the inputs of the host.
    this.#host = inputs as unknown as HostValues;
  }

  openAgent(): Promise<Agent> {
    const host = this.#host;
    return openAgent(
      {
        target: {
          host: host.host,
          port: host.port,
          user: host.user,
          key: host['ssh-key'],
          passphrase: host['ssh-key-passphrase'],
          knownHosts: host['known-hosts'],
        },
        policy: { connectTimeout: host['connect-timeout'] },
        program: hostProgram,
      },
      (note) => this.reporter.info(note),
    );
  }

  meta(unit?: string): TransactionMeta {
    const env = process.env;
    const run =
      env.GITHUB_RUN_ID === undefined
        ? `${env.USER ?? 'someone'}@${hostname()}`
        : `${env.GITHUB_SERVER_URL}/${env.GITHUB_REPOSITORY}/actions/runs/${env.GITHUB_RUN_ID}`;
    return {
      action: this.#name,
      holder: run,
      sha: env.GITHUB_SHA ?? '',
      actor: env.GITHUB_ACTOR ?? env.USER ?? '',
      lockTimeoutSeconds: this.#host['lock-timeout'],
      ...(unit !== undefined && { unit }),
    };
  }

  async look<const Query extends FactQuery>(agent: Agent, query: Query): Promise<FactsFor<Query>> {
    const facts = await agent.look({ transactions: {}, ...query });
    const { transactions } = facts as unknown as FactsFor<{ transactions: object }>;
    if (this.#host['dry-run'] || transactions.every(({ state }) => state !== 'open')) return facts;
    // An open transaction may also be another run at work: then this waits and recovers nothing.
    const deeds = await this.reporter.group(`${this.#name}: an earlier run did not finish`, () =>
      agent.recover(this.meta(), this.onProgress()),
    );
    for (const deed of deeds) {
      const { message, whole } = describeDeed(deed);
      this.reporter[whole ? 'warning' : 'error'](message, this.#name);
    }
    return agent.look(query);
  }

  onProgress(plan?: Plan): (progress: Progress) => void {
    return (progress) => {
      const line = progressLine(plan, progress);
      if (line !== null) {
        this.reporter.info(line);
      }
    };
  }

  async carryOut(agent: Agent, plan: Plan, about: About): Promise<Outcome | null> {
    const { reporter } = this;
    const dryRun = this.#host['dry-run'];
    if (plan.operations.length > 0) {
      const title = `${this.#name}: the plan${dryRun ? ' (dry run)' : ''}`;
      // The findings follow as annotations.
      const text = renderPlanText({ ...plan, findings: [] });
      await reporter.group(title, async () => reporter.info(text));
    }
    for (const { level, message, where } of plan.findings) {
      reporter[level](message, where ?? this.#name);
    }
    const idle = dryRun || plan.operations.length === 0;
    const outcome = idle ? null : await this.#apply(agent, plan, about);
    this.#report(agent, plan, outcome, about);
    if (outcome !== null && outcome.result !== 'committed') {
      throw outcomeToHostError(outcome, plan.operations);
    }
    return outcome;
  }

  async #apply(agent: Agent, plan: Plan, about: About): Promise<Outcome> {
    if (about.pause !== undefined) {
      this.reporter.info(`${this.#name}: ${about.pause.why}`);
      await systemClock.sleep(about.pause.seconds);
    }
    return this.reporter.group(`${this.#name}: working on the host`, async () => {
      for (const parcel of about.parcels ?? []) await agent.send(parcel, this.onProgress());
      const { release } = about;
      const meta = { ...this.meta(about.unit), ...(release !== undefined && { release }) };
      return agent.apply(plan.operations, meta, this.onProgress(plan));
    });
  }

  #report(agent: Agent, plan: Plan, outcome: Outcome | null, about: About): void {
    const { reporter } = this;
    const checklist = checklistOf(plan, outcome);
    const told = about.tell?.(outcome);
    const sentence = [describeOutcome(plan, outcome), told?.sentence ?? '']
      .filter((part) => part !== '')
      .join(' ');
    const findings = [...plan.findings, ...(told?.findings ?? [])];
    for (const { level, message } of told?.findings ?? []) reporter[level](message, this.#name);
    for (const [name, value] of Object.entries(told?.outputs ?? {})) reporter.output(name, value);
    reporter.output('changed', String(outcome?.result === 'committed'));
    reporter.output('transaction', outcome?.result === 'committed' ? outcome.transaction : '');
    reporter.info(sentence);
    if (outcome !== null || plan.operations.length === 0) {
      reporter.info(renderChecklistText(checklist));
    }
    const markdown = [
      findings.length === 0 ? '' : renderFindings(findings),
      plan.operations.length === 0
        ? ''
        : `<details>\n<summary>The plan</summary>\n\n${renderPlanMarkdown({ ...plan, findings: [], satisfied: [] })}\n\n</details>`,
    ].filter((part) => part !== '');
    this.summarize(agent, {
      subject: about.subject,
      sentence,
      checklist,
      markdown: markdown.join('\n\n'),
      ...about.extra,
    });
  }

  summarize(agent: Agent, content: Omit<SummaryContent, 'action' | 'host' | 'cost'>): void {
    const seconds = (performance.now() - this.#begun) / 1000;
    const wire = agent.traffic;
    this.reporter.info(`cost: ${describeCost(wire, seconds)}`);
    this.reporter.summary(
      renderSummary({
        action: this.#name,
        host: this.#host.host,
        cost: { wire, seconds },
        ...content,
      }),
    );
  }
}

function progressLine(plan: Plan | undefined, progress: Progress): string | null {
  switch (progress.kind) {
    case 'step-started':
      return plan === undefined
        ? progress.title
        : `${progress.index + 1}/${plan.operations.length} ${progress.title}`;
    case 'step-ended': {
      const { status, message, seconds } = progress.step;
      return `    ${status}: ${message} (${formatDuration(seconds)})`;
    }
    case 'note':
      return `    ${progress.message}`;
    case 'chunk':
    case 'opened':
      return null;
  }
}
