import { type ActionName, actions } from '../config/action-inputs.ts';
import type { FleetValues } from '../config/fleet-file.ts';
import { judgeInputs } from '../config/judge-inputs.ts';
import type { Given } from '../config/read-inputs.ts';
import { wishesOfDeploy } from '../config/wishes-of-deploy.ts';
import { docsBase, linkFailure } from '../report/doc-links.ts';
import { codeFence } from '../report/escape.ts';
import { renderFailure } from '../report/failure.ts';
import { GithubReporter } from './github-reporter.ts';
import { given, givenSecrets, readFleetValues, runAddress } from './given.ts';
import { Webhook } from './tell-webhook.ts';

const action = 'check-inputs';

/**
 * Judges the inputs of every step of a deploy before the first of them: what is wrong for the last should
 * cost no restart. It knows no key and connects to no host.
 */
export async function checkInputs(): Promise<void> {
  const reporter = new GithubReporter();
  let fleet: FleetValues = new Map();
  try {
    for (const name of Object.keys(actions) as ActionName[]) {
      fleet = readFleetValues(name);
      judgeInputs(name, givenTo(name), fleet);
    }
    reporter.info('the inputs of every step are valid');
  } catch (error) {
    const host = given('host');
    const about = { action, ...(host !== '' && { host }) };
    const view = linkFailure(renderFailure(error, about), docsBase(process.env));
    reporter.fail(view);
    reporter.summary(`### ${action} failed\n\n${codeFence(view.message, 'text')}`);
    process.exitCode = 1;
    const { title, message } = view.annotation;
    await tell(`${title.slice(action.length + 2)}. ${message}`, fleet, reporter);
  }
  await reporter.flush();
}

/** As the step of this action gets them: the gate does not take what is only wished of a deploy. */
const givenTo =
  (name: ActionName): Given =>
  (input) =>
    name === 'verify' && wishesOfDeploy.has(input) ? '' : given(input);

/** The steps that would tell of it do not run any more. */
async function tell(sentence: string, fleet: FleetValues, reporter: GithubReporter): Promise<void> {
  await reporter.flush();
  try {
    const unit = given('unit') || (fleet.get('unit')?.text ?? actions.verify.unit.fallback ?? '');
    const about = { action, host: given('host'), unit, sentence, run: runAddress() };
    const webhook = Webhook.of(given, fleet);
    const message = webhook?.messageOf({ ...about, isProblem: true }, givenSecrets('verify'));
    if (message != null) await webhook?.send(message, action, reporter);
  } catch {
    // The webhook itself may be what is wrong, which has been said.
  }
}
