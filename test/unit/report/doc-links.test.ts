import { describe, expect, it } from 'vitest';
import { docsBase, linkPages } from '../../../src/report/doc-links.ts';

describe('the pages of a plan', () => {
  const plan = {
    operations: [],
    satisfied: [],
    findings: [
      { level: 'warning', message: 'a fault. See docs/reference/unit-rules/kill-by-name.md' },
    ],
  } as const;

  it('are linked by address', () => {
    const base = 'https://github.com/owner/celeriac/blob/v1/';
    expect(linkPages(plan, base).findings[0]?.message).toBe(
      'a fault. See https://github.com/owner/celeriac/blob/v1/docs/reference/unit-rules/kill-by-name.md',
    );
    expect(linkPages(plan, '')).toEqual(plan);
  });

  it.each([
    [
      { GITHUB_ACTION_REPOSITORY: 'owner/celeriac', GITHUB_ACTION_REF: 'v1' },
      'owner/celeriac/blob/v1/',
    ],
    // The action of the repository that runs it: `uses: ./actions/deploy-worker`.
    [{ GITHUB_ACTION_REPOSITORY: '', GITHUB_ACTION_REF: '' }, 'me/app/blob/0a1b/'],
    [{}, 'me/app/blob/0a1b/'],
  ])('are in the repository of the action: %o', (action, expected) => {
    const run = { GITHUB_REPOSITORY: 'me/app', GITHUB_SHA: '0a1b' };
    const server = { GITHUB_SERVER_URL: 'https://github.example' };
    expect(docsBase({ ...server, ...run, ...action })).toBe(`https://github.example/${expected}`);
    expect(docsBase({ ...run, ...action })).toBe('');
  });
});
