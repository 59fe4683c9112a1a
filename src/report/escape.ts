/**
 * Text from a host or a person is data: it must not end a table cell, a code fence or a line, start
 * HTML, colour a terminal, or send commands to the runner.
 */

const terminalSequences = new RegExp(
  [
    '\\u001b\\][^\\u0007\\u001b]*(?:\\u0007|\\u001b\\\\)?', // OSC … BEL or ST: titles, links
    '\\u001b[PX^_][^\\u001b]*(?:\\u001b\\\\)?', // DCS, SOS, PM, APC
    '[\\u001b\\u009b]\\[?[0-?]*[ -/]*[@-~]', // CSI: colours, cursor
    '\\u001b', // whatever else begins with ESC
  ].join('|'),
  'g',
);

/** C0 and C1 controls except tab and newline; invisible marks and those that reorder text. */
const invisible =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what it searches for
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;

/** Without terminal sequences, control characters and invisible marks; tabs and newlines stay. */
export function stripControls(text: string): string {
  return text.replace(/\r\n?/g, '\n').replace(terminalSequences, '').replace(invisible, '');
}

/** The same on one line: line breaks and runs of white space become one space. */
export function toOneLine(text: string): string {
  return stripControls(text).replace(/\s+/g, ' ').trim();
}

/**
 * Safe to write to a runner's log: `::error::…` at the beginning of a line and `##[…]` anywhere are
 * commands to the runner; a space inside turns them into text. Line breaks are kept.
 */
export function sanitizeLogLine(text: string): string {
  return stripControls(text)
    .replace(/^(\s*):(?=:)/gm, '$1: ')
    .replaceAll('##[', '## [');
}

/** JSON that {@link sanitizeLogLine} leaves as it is: what it would remove is escaped. */
export const escapeJson = (json: string): string =>
  json
    .replace(invisible, (sign) => `\\u${sign.charCodeAt(0).toString(16).padStart(4, '0')}`)
    .replaceAll('##[', '#\\u0023[');

/** Text escaped for Markdown, on one line; also safe in a table cell. */
export function escapeMarkdown(text: string): string {
  return toOneLine(text)
    .replace(/[\\`*[\]~|$]/g, '\\$&')
    .replace(/(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])/g, '\\_')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replace(/^([#+=-])/, '\\$1')
    .replace(/^(\d+)([.)])(?=\s|$)/, '$1\\$2');
}

/**
 * Escaped text that calls nobody by `@name` and refers to no issue, wherever GitHub shows it: also in
 * titles of a `<details>`. In code it needs none of that.
 */
const silence = (escaped: string): string =>
  escaped
    .replaceAll('@', '@<!-- -->')
    .replace(/(?<!&)#(?=\d)/g, '#<!-- -->')
    .replace(/\bGH-(?=\d)/gi, (found) => `${found}<!-- -->`)
    .replace(/\/(?:issues|pull|discussions)\/(?=\d)/gi, (found) => `${found}<!-- -->`);

/** {@link escapeMarkdown} for a comment or an issue: it calls nobody and refers to nothing. */
export const silentMarkdown = (text: string): string => silence(escapeMarkdown(text));

/** {@link escapeHtml} for a comment or an issue. */
export const silentHtml = (text: string): string => silence(escapeHtml(text));

/** Text inside an HTML element or a quoted attribute, on one line. */
export const escapeHtml = (text: string): string => escapeHtmlLines(toOneLine(text));

/** Text inside an HTML `pre`; its lines stay. */
export function escapeHtmlLines(text: string): string {
  return stripControls(text)
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&#39;');
}

/** An inline code span on one line. Not for table cells: `|` ends a cell even in code. */
export function codeSpan(text: string): string {
  const line = toOneLine(text);
  if (line === '') return '` `';
  const ticks = '`'.repeat(longestRun(line) + 1);
  const padding = line.startsWith('`') || line.endsWith('`') ? ' ' : '';
  return `${ticks}${padding}${line}${padding}${ticks}`;
}

/** A fenced block; the fence is longer than any run of backticks inside. */
export function codeFence(text: string, language = ''): string {
  const body = stripControls(text).replace(/\n+$/, '');
  const ticks = '`'.repeat(Math.max(3, longestRun(body) + 1));
  return `${ticks}${language}\n${body}\n${ticks}`;
}

/** Indents each line; empty lines stay empty. */
export function indent(text: string, by: string): string {
  return text.replace(/^(?=.)/gm, by);
}

const longestRun = (text: string): number =>
  Math.max(0, ...(text.match(/`+/g) ?? []).map((run) => run.length));

/** The most that GitHub accepts as the job summary of one step. */
export const summaryLimitBytes = 1024 * 1024;

/**
 * Markdown within GitHub's limit, cut between lines. Open fences and `<details>` are closed, and
 * the last line says that the report was cut.
 *
 * @param note Markdown that says so
 */
export function capMarkdown(
  markdown: string,
  limitBytes = summaryLimitBytes,
  note = 'This report is longer than GitHub allows and was cut here; the full report is in the log.',
): string {
  if (byteLength(markdown) <= limitBytes) return markdown;
  const kept: string[] = [];
  const open: string[] = [];
  let used = 0;
  for (const line of markdown.split('\n')) {
    const before = [...open];
    trackOpen(line, open);
    const closing = byteLength([...before, ...open, '', `_${note}_`, ''].join('\n'));
    const size = byteLength(line) + 1;
    if (used + size + closing > limitBytes) {
      const tail = [...before.reverse(), '', `_${note}_`, ''];
      return [...kept, ...tail].join('\n');
    }
    kept.push(line);
    used += size;
  }
  return kept.join('\n');
}

/** Maintains the stack of what is still open after a line: a code fence, a `<details>`. */
function trackOpen(line: string, open: string[]): void {
  const fence = /^ *(`{3,})(.*)$/.exec(line);
  const inside = open.at(-1);
  if (inside?.includes('`')) {
    if (fence?.[2] === '' && line.trimEnd() === inside) open.pop();
    return;
  }
  if (fence) open.push(line.slice(0, line.indexOf('`')) + (fence[1] ?? ''));
  else if (/^<details(?: open)?>$/.test(line)) open.push('</details>');
  else if (line === '</details>') open.pop();
}

export const byteLength = (text: string): number => new TextEncoder().encode(text).length;
