import { expect, test } from 'vitest';
import { selectDebianSources } from '../../../sandbox/debian-sources.ts';

const KEYRING = '[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]';
const OWN = [
  'http://mirror.test/debian/|bookworm|Debian',
  'http://mirror.test/debian/|bookworm-updates|Debian',
  'http://mirror.test/debian-security/|bookworm-security|Debian',
  'http://mirror.test/debian/|bookworm-backports|Debian Backports',
  'http://other.test/|bookworm|Somebody',
  'http://ppa.test/ubuntu/|noble|Ubuntu',
].join('\n');

test.each(['bullseye', 'bookworm', 'trixie'] as const)(
  '%s comes from where this machine has its own Debian from',
  (suite) => {
    expect(selectDebianSources(OWN, suite)).toEqual([
      `deb ${KEYRING} http://mirror.test/debian/ ${suite} main`,
      `deb ${KEYRING} http://mirror.test/debian/ ${suite}-updates main`,
      `deb ${KEYRING} http://mirror.test/debian-security/ ${suite}-security main`,
    ]);
  },
);

test.each([
  ['no Debian at all', 'http://ppa.test/ubuntu/|noble|Ubuntu'],
  ['only its updates', 'http://mirror.test/debian-security/|bookworm-security|Debian'],
  ['nothing', ''],
])('%s: no source', (_, lines) => {
  expect(selectDebianSources(lines, 'bookworm')).toEqual([]);
});

test('before an apt-get update the origin is not known', () => {
  const lines = 'http://mirror.test/debian/|trixie|$(ORIGIN)';
  expect(selectDebianSources(lines, 'trixie')).toHaveLength(1);
});
