import { describe, expect, it } from 'vitest';
import { ConfigError } from '../../../src/model/errors.ts';
import { docsBase, linkFailure, linkPages } from '../../../src/report/doc-links.ts';
import { renderFailure } from '../../../src/report/failure.ts';

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

  it('are linked by address in a refusal, too', () => {
    const problem = 'a start of the worker empties its queues';
    const page = 'docs/reference/unit-rules/purge.md';
    const refused = new ConfigError('input unit', problem, `no --purge. See ${page}`);
    const view = renderFailure(refused, { action: 'deploy-worker' });
    const { message, annotation } = linkFailure(view, 'https://github.com/owner/celeriac/blob/v1/');
    for (const text of [message, annotation.message]) {
      expect(text).toContain(`See https://github.com/owner/celeriac/blob/v1/${page}`);
    }
    expect(linkFailure(view, '')).toEqual(view);
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

  it('are unknown where the repository is a folder, as of a clone without a server', () => {
    const run = { GITHUB_REPOSITORY: '/srv/celeriac/.', GITHUB_SHA: '0a1b' };
    expect(docsBase({ ...run, GITHUB_SERVER_URL: 'https://github.example' })).toBe('');
  });
});
