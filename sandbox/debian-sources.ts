import { execute } from './command.ts';
import { SUITES, type Suite } from './edition.ts';
import { SandboxError } from './failure.ts';

const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';

/**
 * The lines of a sources.list for an image: the mirrors of this machine's own apt sources, or the one
 * that CELERIAC_DEBIAN_MIRROR names.
 *
 * @throws SandboxError when this machine has neither.
 */
export async function findDebianSources(suite: Suite): Promise<string[]> {
  const mirror = process.env.CELERIAC_DEBIAN_MIRROR;
  if (mirror) return [`deb [signed-by=${KEYRING}] ${mirror} ${suite} main`];
  const { stdout } = await execute(
    'apt-get',
    [
      'indextargets',
      '--format',
      '$(REPO_URI)|$(RELEASE)|$(ORIGIN)',
      'Created-By: Packages',
      'Component: main',
    ],
    { missing: `apt is not installed: the sandbox's image is made of Debian packages` },
  );
  const sources = selectDebianSources(stdout, suite);
  if (sources.length === 0) {
    throw new SandboxError(
      `this machine's apt sources carry no Debian ${suite}: set CELERIAC_DEBIAN_MIRROR to ` +
        'the address of a Debian mirror and install the package debian-archive-keyring',
    );
  }
  return sources;
}

/**
 * From lines `uri|release|origin`, the origin empty or unsubstituted before an apt-get update. Where
 * a machine gets one release of Debian from, it gets the others.
 */
export function selectDebianSources(lines: string, suite: Suite): string[] {
  const sources = new Set<string>();
  for (const line of lines.split('\n')) {
    const [uri = '', release = '', origin = ''] = line.split('|');
    const [, name = '', part = ''] = /^([a-z]+)(|-updates|-security)$/.exec(release) ?? [];
    const debian = origin === 'Debian' || origin === '' || origin.startsWith('$(');
    if (debian && SUITES.some((each) => each === name)) {
      sources.add(`deb [signed-by=${KEYRING}] ${uri} ${suite}${part} main`);
    }
  }
  // A mirror of the suite itself must be among them: updates alone make no system.
  return [...sources].some((source) => source.includes(` ${suite} `)) ? [...sources] : [];
}

/** How this machine's apt reaches its mirrors (proxy, certificates), as apt.conf lines. */
export async function findTransportOptions(): Promise<string[]> {
  const { stdout } = await execute('apt-config', ['dump', '--format', '%F "%v";%n', 'Acquire']);
  return stdout.split('\n').filter((line) => /^Acquire::https?::.*"[^"]+";$/.test(line));
}
