import { describe, expect, it } from 'vitest';
import { readInputs } from '../../../src/config/read-inputs.ts';
import type { ReleaseDesired } from '../../../src/config/release-desired.ts';
import { releaseDesired, releaseInputs } from '../../../src/config/release-inputs.ts';

function read(given: Readonly<Record<string, string>>): ReleaseDesired | null {
  return releaseDesired(readInputs(releaseInputs, (name) => given[name] ?? '', new Map()));
}

const commit = '0123456789abcdef0123456789abcdef01234567';

describe('the inputs for code', () => {
  it('do not touch it by default', () => {
    expect(read({})).toBeNull();
    expect(read({ requirements: 'requirements.txt', dependencies: 'none' })).toBeNull();
  });

  it('select a checkout', () => {
    expect(read({ source: 'git' })).toEqual({
      from: { source: 'git', checkout: null, dirtyTree: 'refuse' },
      commit: null,
      dependencies: null,
    });
    const more = { source: 'git', checkout: '/srv/app', 'dirty-tree': 'stash', commit };
    expect(read(more)).toMatchObject({
      from: { checkout: '/srv/app', dirtyTree: 'stash' },
      commit,
    });
  });

  it('select code folders', () => {
    const given = {
      source: 'upload',
      'deploy-to': '/srv/app',
      shared: 'backend/app.db\nuploads/, .env',
      'keep-releases': '3',
    };
    expect(read(given)?.from).toEqual({
      source: 'upload',
      deployTo: '/srv/app',
      shared: [
        { path: 'backend/app.db', folder: false },
        { path: 'uploads', folder: true },
        { path: '.env', folder: false },
      ],
      keepReleases: 3,
    });
  });

  it.each([
    ['requirements.txt', 'auto', 'pip'],
    ['uv.lock', 'auto', 'uv'],
    ['backend/uv.lock', 'uv', 'uv'],
    ['pins.lock', 'auto', 'pip'],
  ])('%s with %s is installed by %s', (requirements, dependencies, tool) => {
    const desired = read({ source: 'git', requirements, dependencies });
    expect(desired?.dependencies).toEqual({ file: requirements, tool, timeoutSeconds: 600 });
  });

  it.each([
    [{ source: 'upload' }, 'input deploy-to', 'needs `deploy-to`'],
    [{ requirements: 'requirements.txt' }, 'input requirements', '`source` is `none`'],
    [{ source: 'git', requirements: 'uv.lock', dependencies: 'pip' }, 'input requirements', 'pip'],
    [{ source: 'git', requirements: 'r.txt', dependencies: 'uv' }, 'input requirements', 'uv'],
    [{ source: 'upload', 'deploy-to': '/srv', shared: 'a/ a/b' }, 'input shared', 'inside a'],
    [{ source: 'git', commit: 'main' }, 'input commit', 'invalid `commit`'],
    [{ source: 'upload', 'deploy-to': '/srv', shared: '/etc' }, 'input shared', '`shared`'],
    [{ source: 'upload', 'deploy-to': '/srv', shared: 'a/../../b' }, 'input shared', '`shared`'],
    [
      { source: 'upload', 'deploy-to': '/srv', 'keep-releases': '1' },
      'input keep-releases',
      '`keep',
    ],
  ])('%j is refused', (given, where, message) => {
    expect(() => read(given as Record<string, string>)).toThrow(
      expect.objectContaining({ where, message: expect.stringContaining(message) }),
    );
  });
});
