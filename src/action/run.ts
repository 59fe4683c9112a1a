import { type ActionName, actions, hostValuesOf } from '../config/action-inputs.ts';
import type { FleetValues } from '../config/fleet-file.ts';
import type { Inputs } from '../config/input.ts';
import { locateError, readInputs } from '../config/read-inputs.ts';
import { GateError } from '../model/errors.ts';
import { docsBase, linkFailure } from '../report/doc-links.ts';
import { codeFence } from '../report/escape.ts';
import { renderFailure } from '../report/failure.ts';
import type { ActionRun } from '../use-case/run.ts';
import { GithubReporter } from './github-reporter.ts';
import { GithubRun } from './github-run.ts';
import { given, givenSecrets, readFleetValues, runAddress } from './given.ts';
import { KeptPlan } from './kept-plan.ts';
import { isPostStep, reportInterrupted } from './post.ts';
import { saveEnd } from './run-state.ts';
import { Webhook } from './tell-webhook.ts';

/**
 * Runs an action: every failure becomes one message, one annotation and exit code 1. In its post step,
 * says what became of a run that could not say so.
 */
export async function runAction<Name extends ActionName>(
  name: Name,
  body: (run: ActionRun<Name>) => Promise<void>,
): Promise<void> {
  if (isPostStep()) return await reportInterrupted(name);
  const reporter = new GithubReporter();
  // A closed log must not end the work or change the verdict.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});
  let host: string | undefined;
  let fleet: FleetValues = new Map();
  let webhook: Webhook | null = null;
  const kept = new KeptPlan(name, {
    host: given('host'),
    dryRun: given('dry-run').trim() === 'true',
    secrets: givenSecrets(name),
  });
  const keepPlan = (failure?: string): void =>
    reporter.attempt('the plan', () => {
      const path = kept.write(failure);
      if (path !== null) reporter.output('plan-path', path);
    });
  /** Tells somebody elsewhere, once the report is out: the post step of a run cut off meanwhile only does that. */
  const tell = async (sentence: string, isProblem: boolean): Promise<void> => {
    await reporter.flush();
    const about = { action: name, host: host ?? given('host'), unit: unitOf(name, fleet) };
    const news = { ...about, sentence, run: runAddress(), isProblem };
    const message = webhook?.messageOf(news, givenSecrets(name)) ?? null;
    reporter.attempt('the state for the post step', () => saveEnd(message));
    if (webhook === null || message === null) return;
    await webhook.send(message, name, reporter);
    reporter.attempt('the state for the post step', () => saveEnd(null));
  };
  try {
    // The workflow's own is told if the fleet file cannot be read.
    webhook = Webhook.of(given, fleet);
    fleet = readFleetValues(name);
    webhook = Webhook.of(given, fleet);
    const inputs = readInputs<(typeof actions)[Name]>(actions[name], given, fleet);
    host = hostValuesOf<Name>(inputs).host;
    const run = new GithubRun(name, inputs, reporter, kept);
    await body(run);
    keepPlan();
    await tell(run.sentence, false);
  } catch (error) {
    const about = { action: name, ...(host !== undefined && { host }) };
    const failure = renderFailure(locateError(error, given, fleet), about);
    const view = linkFailure(failure, docsBase(process.env));
    const { title, message } = view.annotation;
    reporter.fail(view);
    reporter.summary(`### ${name} failed\n\n${codeFence(view.message, 'text')}`);
    keepPlan(view.message);
    // A problem that an earlier run told of is told again only to those who want to hear each end.
    const isNew = !(error instanceof GateError && error.isOld);
    // The message names the action itself.
    process.exitCode = 1;
    await tell(`${title.slice(name.length + 2)}. ${message}`, isNew);
  }
  await reporter.flush();
}

/** Also where the inputs could not be read; `''`: the action is not about a unit. */
function unitOf(name: ActionName, fleet: FleetValues): string {
  const set: Inputs = actions[name];
  return given('unit') || (fleet.get('unit')?.text ?? set.unit?.fallback ?? '');
}
