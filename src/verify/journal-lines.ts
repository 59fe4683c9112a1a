import type { JournalFact } from '../model/facts.ts';
import { formatCount, formatInstant } from '../report/quantities.ts';

/** A line of the unit's journal. */
export type JournalLine = JournalFact['suspects'][number];

/** A complete number 429: not 4290, 429.5, 429-7, 429ms, 429%. */
const code = '429(?![\\w%-]|\\.\\d|,\\d)';

/**
 * How clients, servers and Python libraries log a *status* 429. The number alone proves nothing: it
 * may be an id, a count, a size or a time.
 */
const rateLimitForms: readonly RegExp[] = [
  // The reason phrase: http.client, requests, httpx, curl.
  /(?<![\w.-])429 (?:Too Many Requests|Client Error)\b/i,
  // `"GET / HTTP/1.1" 429 17`, `HTTP/2 429`, `HTTP Error 429: …`, `HTTP status 429`.
  new RegExp(`\\bHTTPS?(?:/\\d(?:\\.\\d)?)?"?(?: error)? ${code}`, 'i'),
  // `status 429`, `status=429`, `"status": 429`, `status_code: '429'`, `Error code: 429`.
  new RegExp(
    `\\b(?:status(?:[ _-]?code)?|(?:error|response|http)[ _-]?code)\\\\?["']?(?: is| was| of)? ?[:=]{0,2} ?\\(?\\\\?["']?${code}`,
    'i',
  ),
  // The body of many APIs' errors: `{"error": {"code": 429, …`.
  new RegExp(`\\\\?["']code\\\\?["'] ?: ?\\\\?["']?${code}`, 'i'),
  // `<Response [429]>` of requests, `<Response [429 Too Many Requests]>` of httpx.
  /<(?:Client)?Response \[429\b[^\]]*\]>/i,
  // aiohttp: `ClientResponseError: 429, message='…'`.
  /(?<![\w.-])429, ?message=/i,
  // google.api_core and the like: `TooManyRequests: 429 POST https://…`.
  new RegExp(
    `\\b(?:TooManyRequests|ResourceExhausted|RateLimit\\w*|HTTPError|HTTPStatusError|HTTPException|ClientResponseError|APIStatusError)(?:: |\\()["']?${code}`,
    'i',
  ),
  // urllib3: `ResponseError('too many 429 error responses')`.
  /\btoo many 429 error responses\b/i,
];

/** Whether the line reports an HTTP response with status 429. */
export function isRateLimitLine(message: string): boolean {
  return message.includes('429') && rateLimitForms.some((form) => form.test(message));
}

/** A line in the log format of Celery: `[2026-01-18 11:02:03,123: ERROR/MainProcess] text`. */
export interface CeleryLine {
  readonly level: string;
  readonly process: string;
  readonly text: string;
}

const celeryFormat =
  /^\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[,.]\d+: (DEBUG|INFO|WARNING|WARN|ERROR|CRITICAL|FATAL)\/([^\]]+)\] ?(.*)$/s;

/** `null`: not in Celery's log format. */
export function parseCeleryLine(message: string): CeleryLine | null {
  const match = celeryFormat.exec(message);
  if (match === null) return null;
  const [, level = '', process = '', text = ''] = match;
  return { level, process, text };
}

const errorLevels: ReadonlySet<string> = new Set(['ERROR', 'CRITICAL', 'FATAL']);
const tracebackStart = /^\s*Traceback \(most recent call last\):/;

/**
 * Lines that start an error: level ERROR or CRITICAL in Celery's format, or a traceback. A traceback
 * within a second of an error line belongs to the same error.
 */
export function errorLines(lines: readonly JournalLine[]): readonly JournalLine[] {
  const found: JournalLine[] = [];
  let last = Number.NEGATIVE_INFINITY;
  for (const line of lines) {
    const parsed = parseCeleryLine(line.message);
    if (parsed !== null && errorLevels.has(parsed.level)) {
      found.push(line);
      last = line.at;
    } else if (tracebackStart.test(line.message)) {
      if (line.at - last > 1) found.push(line);
      last = line.at;
    }
  }
  return found;
}

/** journald drops lines under load, so a count is a lower bound; the number of lines is shown too. */
export function foundIn(entries: number, found: number): string {
  const total = `in ${formatCount(entries, 'line')} since the start`;
  return found === 0 ? `none ${total}` : `${found} ${total}`;
}

/** Journal lines as evidence. */
export const showLines = (lines: readonly JournalLine[]): readonly string[] =>
  lines.map(({ at, message }) => `${formatInstant(at)} ${message}`);
