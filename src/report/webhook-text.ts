import { toOneLine } from './escape.ts';

/** What somebody is told. */
export interface WebhookNews {
  /** `verify`. */
  readonly action: string;
  /** As the user gave it; `''`: unknown. */
  readonly host: string;
  /** `''`: it is not about a unit. */
  readonly unit: string;
  readonly sentence: string;
  /** The address of the run. */
  readonly run: string;
}

const longestSentence = 1500;

/**
 * The text of a message: what ended how, and where to read more.
 *
 * Slack takes `<!channel>` as a call and `<url|text>` as a link, others `@all`: text of a host does neither.
 */
export function webhookText({ action, host, unit, sentence, run }: WebhookNews): string {
  const subject = [
    action,
    ...(unit === '' ? [] : ['of', unit]),
    ...(host === '' ? [] : ['on', host]),
  ];
  return `Celeriac: ${plain(subject.join(' '))}: ${plain(shorten(toOneLine(sentence)))}\n${plain(run)}`;
}

const plain = (text: string): string =>
  toOneLine(text)
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('@', '@\u200b');

const shorten = (text: string): string =>
  text.length > longestSentence ? `${text.slice(0, longestSentence)}…` : text;
