/** A complete number 429: not 4290, 429.5, 429-7, 429ms, 429%. */
const code = '429(?![\\w%-]|\\.\\d|,\\d)';

/**
 * How clients, servers and Python libraries log a *status* 429. The number alone proves nothing: it
 * may be an id, a count, a size or a time. The host's sampler has the same forms, in
 * `host/celeriac_host/sampler/rate_limits.py`; their tests share the lines.
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
  /<(?:Client)?Response \[429\b[^\]]{0,60}\]>/i,
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
