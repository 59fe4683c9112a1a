import { systemClock } from '../adapters/clock.ts';
import type { ActionName } from '../config/action-inputs.ts';
import { seconds } from '../model/units.ts';
import { lookAtInterrupted } from '../use-case/look-at-interrupted.ts';
import { GithubReporter } from './github-reporter.ts';
import { delivered, given, givenSecrets, maskSecrets, runAddress } from './given.ts';
import { openHost } from './open-host.ts';
import { type CutOffRun, savedMessage, savedRun } from './run-state.ts';
import { Webhook } from './tell-webhook.ts';

/** The word with which the program of the post step (`dist/post.js`) starts that of the action. */
const postWord = '--celeriac-post';

/** Whether this is the post step. Not by saved state: without it, a post step would deploy again. */
export const isPostStep = (words: readonly string[] = process.argv): boolean =>
  words[2] === postWord;

/** GitHub gives a cancelled job five minutes, which other steps need, too. */
const limit = seconds(20);

/**
 * The post step: says in which state the action has left the host, unless it could say so itself; also
 * to the webhook, which the action has not told then. It changes nothing there, and never fails.
 */
export async function reportInterrupted(name: ActionName): Promise<void> {
  const saved = savedRun();
  const untold = savedMessage();
  if (saved === null && untold === null) return;
  const reporter = new GithubReporter();
  maskSecrets(name);
  const message = saved === null ? untold : await reportCutOff(name, saved, reporter);
  if (message !== null) await webhookOf()?.send(message, name, reporter);
  await delivered();
  // A connection that does not answer would keep this process.
  process.exit();
}

/** @returns what to tell the webhook; `null`: nobody wants to be told */
async function reportCutOff(
  name: ActionName,
  saved: CutOffRun,
  reporter: GithubReporter,
): Promise<string | null> {
  const { unit, transactions, began, ...host } = saved;
  const open = () =>
    openHost(
      {
        ...host,
        'ssh-key': given('ssh-key'),
        'ssh-key-passphrase': given('ssh-key-passphrase'),
        'connect-timeout': limit,
      },
      { connectTimeout: limit, attempts: 1 },
      () => {},
    );
  const run = { ...host, action: name, holder: runAddress(), unit, began, transactions };
  const view = await lookAtInterrupted(run, { open, sleep: systemClock.sleep, limit });
  reporter.info(view.message);
  reporter.warning(view.annotation, `${name} was interrupted`);
  reporter.summary(view.markdown);
  await reporter.flush();
  const about = { action: name, host: run.host, unit: unit ?? '', run: run.holder };
  const news = { ...about, sentence: view.sentence, isProblem: true };
  return webhookOf()?.messageOf(news, givenSecrets(name)) ?? null;
}

/** Its URL is a secret, so it is not in the fleet file. One that is not acceptable ended the action itself. */
function webhookOf(): Webhook | null {
  try {
    return Webhook.of(given, new Map());
  } catch {
    return null;
  }
}
