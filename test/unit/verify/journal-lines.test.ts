import { describe, expect, test } from 'vitest';
import { isRateLimitLine } from '../../../src/verify/journal-lines.ts';
import lines from '../../fixtures/rate-limit-lines.json' with { type: 'json' };

/* host/tests/test_rate_limits.py asks the host's own copy of the forms about the same lines. */

describe('a status 429', () => {
  test.each(lines.statuses)('%s', (message) => {
    expect(isRateLimitLine(message)).toBe(true);
  });

  test.each(lines.others)('not: %s', (message) => {
    expect(isRateLimitLine(message)).toBe(false);
  });
});
