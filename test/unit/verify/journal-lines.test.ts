import { describe, expect, test } from 'vitest';
import { epochSeconds } from '../../../src/model/units.ts';
import { errorLines, isRateLimitLine, parseCeleryLine } from '../../../src/verify/journal-lines.ts';

describe('a status 429', () => {
  test.each([
    'HTTP 429 Too Many Requests',
    '429 Too Many Requests',
    '429 too many requests',
    '"GET /v1/items?page=2 HTTP/1.1" 429 0',
    '127.0.0.1 - - [18/Jan/2026:11:02:03 +0000] "POST /x HTTP/1.0" 429 -',
    'HTTP/2 429',
    'HTTP/1.1 429',
    'urllib.error.HTTPError: HTTP Error 429: Too Many Requests',
    'requests.exceptions.HTTPError: 429 Client Error: Too Many Requests for url: https://x/y',
    "httpx.HTTPStatusError: Client error '429 Too Many Requests' for url 'https://x'",
    'status 429',
    'upstream answered with status 429.',
    'status=429',
    'status_code=429',
    'status-code: 429',
    'statusCode: 429,',
    'Status code: 429',
    'status code is 429',
    'Request failed with status code 429',
    '{"status": 429, "error": "slow down"}',
    "{'status': '429'}",
    '{\\"status\\":429}',
    '{"status":429}',
    'openai.RateLimitError: Error code: 429 - {"error": {}}',
    'response code 429',
    '{"error": {"code": 429, "message": "Quota exceeded"}}',
    '<Response [429]>',
    '<Response [429 Too Many Requests]>',
    "aiohttp.client_exceptions.ClientResponseError: 429, message='Too Many Requests', url='x'",
    'google.api_core.exceptions.TooManyRequests: 429 POST https://x: Quota',
    'google.api_core.exceptions.ResourceExhausted: 429 Resource has been exhausted',
    "HTTPError('429 Client Error: Too Many Requests')",
    "Max retries exceeded (Caused by ResponseError('too many 429 error responses'))",
    '[2026-01-18 11:02:03,123: WARNING/ForkPoolWorker-1] got HTTP 429, retrying in 3 s',
  ])('%s', (message) => {
    expect(isRateLimitLine(message)).toBe(true);
  });

  test.each([
    'job 429 completed',
    'processing job 429',
    'status of job 429 is done',
    'status 4290',
    'status=4291',
    'status 1429',
    'HTTP/1.1" 200 429',
    '"GET /429 HTTP/1.1" 200 12',
    '"GET /items/429 Too" HTTP/1.1 200',
    'Task tasks.fetch[429e4567-e89b-12d3-a456-426614174000] received',
    'Task tasks.fetch[a1b2c3d4-429a-4b5c-8d6e-429429429429] succeeded in 429.12s: None',
    'succeeded in 0.429s',
    'took 429 ms',
    'took 429ms',
    'status: 429ms since the last beat',
    'status 429.5',
    'status 429-7',
    'status 429%',
    'code 429,000 rows',
    'HTTP 429000',
    'ValueError: 429 rows expected',
    'fetched 429 items',
    'id=429',
    '{"id": 429, "status": "completed"}',
    '{"total": 429}',
    'links: 429, status: 200',
    '"code": 4290',
    'postcode: 429',
    'pid 429 exited with status 1',
    'port 429',
    '<Response [200]> 429 bytes',
    '',
  ])('not: %s', (message) => {
    expect(isRateLimitLine(message)).toBe(false);
  });
});

describe('lines of Celery', () => {
  test('are parsed', () => {
    expect(
      parseCeleryLine('[2026-01-18 11:02:03,123: ERROR/ForkPoolWorker-1] Task x[1] raised'),
    ).toEqual({
      level: 'ERROR',
      process: 'ForkPoolWorker-1',
      text: 'Task x[1] raised',
    });
    expect(parseCeleryLine('[2026-01-18 11:02:03,123: INFO/MainProcess] ')).toMatchObject({
      level: 'INFO',
      text: '',
    });
  });

  test.each([
    'ERROR: no',
    '[ERROR/MainProcess] no date',
    'x [2026-01-18 11:02:03,123: ERROR/MainProcess] not at the beginning',
    '[2026-01-18 11:02:03,123: LOUD/MainProcess] no such level',
    'Traceback (most recent call last):',
  ])('not: %s', (message) => {
    expect(parseCeleryLine(message)).toBeNull();
  });
});

describe('errors', () => {
  const line = (at: number, message: string) => ({ at: epochSeconds(at), message });
  const logged = (at: number, level: string) =>
    line(at, `[2026-01-18 11:02:03,123: ${level}/MainProcess] text`);

  test('by level', () => {
    const lines = [
      logged(1, 'INFO'),
      logged(2, 'ERROR'),
      logged(3, 'WARNING'),
      logged(4, 'CRITICAL'),
    ];
    expect(errorLines(lines).map(({ at }) => at)).toEqual([2, 4]);
  });

  test('the traceback of an error is that error; others count', () => {
    const lines = [
      logged(10, 'ERROR'),
      line(10, 'Traceback (most recent call last):'),
      line(10, '  Traceback (most recent call last):'),
      line(30, 'Traceback (most recent call last):'),
      line(30.5, 'Traceback (most recent call last):'),
      line(60, 'Traceback (most recent call last):'),
    ];
    expect(errorLines(lines).map(({ at }) => at)).toEqual([10, 30, 60]);
  });

  test('a line about errors is not an error', () => {
    const lines = [
      line(1, 'no Traceback (most recent call last): here'),
      line(2, 'ERROR in a sentence'),
      line(3, '[2026-01-18 11:02:03,123: INFO/MainProcess] ERROR rate is 0'),
    ];
    expect(errorLines(lines)).toEqual([]);
  });
});
