import { postWebhook } from '../adapters/webhook.ts';
import type { FleetValues } from '../config/fleet-file.ts';
import { type Given, readInputs } from '../config/read-inputs.ts';
import { webhookInputs } from '../config/webhook-inputs.ts';
import { seconds } from '../model/units.ts';
import type { Reporter } from '../ports/reporter.ts';
import { hideSecrets } from '../report/hide-secrets.ts';
import { type WebhookNews, webhookText } from '../report/webhook-text.ts';

/** The step waits for it; nothing else does. */
const timeout = seconds(10);

/** Tells somebody how a step ended, if the workflow wants that. */
export class Webhook {
  readonly #url: string;
  readonly #isAlways: boolean;

  private constructor(url: string, isAlways: boolean) {
    this.#url = url;
    this.#isAlways = isAlways;
  }

  /**
   * @returns `null`: nobody wants to be told
   * @throws ConfigError for an address that is not acceptable
   */
  static of(given: Given, fleet: FleetValues): Webhook | null {
    const { webhook, 'webhook-when': when } = readInputs(webhookInputs, given, fleet);
    return webhook.url === null ? null : new Webhook(webhook.url, when === 'always');
  }

  /**
   * The message about an end.
   *
   * @param secrets values that must not be in it
   * @returns `null`: all is well, and nobody wants to hear that
   */
  messageOf(
    news: WebhookNews & { readonly isProblem: boolean },
    secrets: readonly string[],
  ): string | null {
    if (!news.isProblem && !this.#isAlways) return null;
    return hideSecrets(webhookText(news), [...secrets, this.#url]);
  }

  /** Sends a message. Never throws: what goes wrong is one warning. */
  async send(message: string, action: string, reporter: Reporter): Promise<void> {
    const problem = await postWebhook(this.#url, { text: message }, timeout);
    if (problem === null) return;
    reporter.warning(
      `the webhook was not told: ${problem}; this does not affect the result of the run`,
      action,
    );
  }
}
