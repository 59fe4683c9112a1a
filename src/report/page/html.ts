import { escapeHtml, escapeHtmlLines } from '../escape.ts';

/** Markup that is safe to insert: made by {@link html} alone. */
export class Html {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }

  toString(): string {
    return this.text;
  }
}

type Part = Html | string | number | null | readonly Html[];

/** Markup with values inserted; texts are data, and escaped. `null` inserts nothing. */
export function html(markup: TemplateStringsArray, ...parts: readonly Part[]): Html {
  const inserted = parts.map(insert);
  return new Html(markup.map((text, index) => text + (inserted[index] ?? '')).join(''));
}

/** Text of several lines, for `pre`. */
export const htmlLines = (text: string): Html => new Html(escapeHtmlLines(text));

export const none: Html = new Html('');

function insert(part: Part): string {
  if (part === null) return '';
  if (part instanceof Html) return part.text;
  if (typeof part === 'object') return part.map(({ text }) => text).join('');
  return escapeHtml(String(part));
}
