import { formatBytes, formatDuration, formatInstant } from '../../model/quantities.ts';
import { type Html, html, none } from './html.ts';

/*
 * Values for people, each with the number of the JSON beside it (`data value`), so that programs
 * and tests read the same as people.
 */

const dash = html`<span class="unknown">not known</span>`;

/** A part that is not known, and why: never shown as good. */
export const unknown = (why: string): Html =>
  html`<p class="unknown"><strong>Not known:</strong> ${why}.</p>`;

const value = (raw: number | null, format: (value: number) => string): Html =>
  raw === null ? dash : html`<data value="${raw}">${format(raw)}</data>`;

export const bytesValue = (raw: number | null): Html => value(raw, formatBytes);
export const secondsValue = (raw: number | null): Html => value(raw, formatDuration);
export const countValue = (raw: number | null): Html =>
  value(raw, (count) => String(Math.round(count * 100) / 100));

export const instantValue = (raw: number | null): Html =>
  raw === null ? dash : timeOf(raw, formatInstant(raw).replace(/:\d\d UTC$/, ''));

/** A time that is wanted, in hours: `24 h`, where others say `1 d`. */
export const formatHours = (seconds: number): string =>
  seconds % 3600 === 0 ? `${seconds / 3600} h` : formatDuration(seconds);
export const hoursValue = (raw: number | null): Html => value(raw, formatHours);

/** A text in which words between backticks are code. */
export function prose(text: string): Html {
  const parts = text.split(/`([^`\n]+)`/);
  return html`${parts.map((part, index) => (index % 2 === 1 ? html`<code>${part}</code>` : keepSpaces(part)))}`;
}

/** An inserted text loses the spaces at its ends. */
function keepSpaces(part: string): Html {
  const before = part.startsWith(' ') ? space : none;
  const after = part.endsWith(' ') ? space : none;
  return html`${before}${part}${after}`;
}

const space = html` `;

/** A text that tells a moment; a clock may be off by more than calendars reach. */
export function timeOf(raw: number, text: string): Html {
  const moment = new Date(raw * 1000);
  if (Number.isNaN(moment.getTime())) return html`${text}`;
  return html`<time datetime="${moment.toISOString()}">${text}</time>`;
}

/** A link if the text is the address of a page, otherwise the text. */
export const linked = (text: string, shown = text): Html =>
  /^https:\/\/[A-Za-z0-9._~:/?#@!&()*+,;=%-]+$/.test(text)
    ? html`<a href="${text}" rel="noreferrer">${shown}</a>`
    : html`${text}`;

/** A wide table scrolls by itself; it can be reached with the keyboard. */
export const scrolling = (label: string, table: Html): Html =>
  html`<div class="scroll" role="group" aria-label="${label}" tabindex="0">${table}</div>`;
