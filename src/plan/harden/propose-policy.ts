import { type Policy, policyPath, policyShape } from '../../config/policy.ts';
import type { SshSigner } from '../../config/signers.ts';
import { ConfigError } from '../../model/errors.ts';
import type { StoreFact } from '../../model/facts/store.ts';
import type { UnitFact } from '../../model/facts/unit.ts';
import type { Finding } from '../../model/operation.ts';
import type { CodeTree } from '../../model/release.ts';
import { type Bytes, bytes, MiB } from '../../model/units.ts';
import { requireLoaded } from '../../systemd/unit-state.ts';
import { secondsOf } from '../deploy/steps.ts';

/** What a person says about the policy; `null`: nothing, so that it stays as it is. */
export interface PolicyGiven {
  readonly access: 'change' | 'read' | null;
  readonly reader: string | null;
  readonly companions: readonly string[] | null;
  readonly databases: readonly string[] | null;
  readonly source: 'none' | 'git' | 'upload' | null;
  readonly deployTo: string | null;
  readonly swapPath: string | null;
  readonly swapSize: { readonly bytes: Bytes | null } | null;
  readonly urls: readonly string[] | null;
  readonly tasks: readonly string[] | null;
  readonly commands: readonly (readonly string[])[] | null;
  readonly writablePaths: readonly string[] | null;
  readonly sshSigners: readonly SshSigner[] | null;
  readonly gpgKeyring: string | null;
}

/** What the host says. */
export interface PolicyFacts {
  /** The policy that is there; `null`: none. */
  readonly present: Policy | null;
  readonly units: readonly UnitFact[];
  readonly stores: readonly StoreFact[];
  /** The code of the first unit. */
  readonly tree: CodeTree;
}

const largestSwap = bytes(4096 * MiB);

/**
 * The policy of a host: what is given, else what the present one says, else what the units need at
 * least. Nothing is allowed that was neither asked for nor found.
 *
 * @throws ConfigError when it cannot be a policy: a unit that runs as root, for example
 */
export function proposePolicy(
  given: PolicyGiven,
  facts: PolicyFacts,
): { readonly policy: Policy; readonly findings: readonly Finding[] } {
  const { present, units } = facts;
  const code = proposeCode(given, facts);
  const policy = {
    $schema: present?.$schema ?? './policy.schema.json',
    version: 1,
    access: given.access ?? present?.access ?? 'change',
    ...some('readers', readersOf(given, present)),
    units: units.map(({ name }) => name),
    appUser: requireAppUser(units),
    ...some('companions', given.companions ?? present?.companions),
    databases: given.databases ?? present?.databases ?? foundDatabases(facts.stores),
    checkout: code.checkout,
    deployTo: code.deployTo,
    swap: proposeSwap(given, facts),
    sysctl: present?.sysctl ?? { 'vm.swappiness': [0, 200] },
    ...some('urls', given.urls?.map(withPath) ?? present?.urls),
    ...some('tasks', given.tasks ?? present?.tasks),
    ...some('commands', given.commands ?? present?.commands),
    ...some('writablePaths', given.writablePaths ?? present?.writablePaths),
    signers: proposeSigners(given, present),
    ...proposeLimits(facts),
  };
  const read = policyShape.safeParse(policy);
  if (!read.success) {
    const issue = read.error.issues[0];
    const where = `the policy, ${issue?.path.join('.')}`;
    throw new ConfigError(where, issue?.message ?? 'not valid', 'see docs/reference/policy.md');
  }
  return { policy: read.data, findings: [...code.findings, ...warnOfSignatures(read.data)] };
}

/** The policy that is on the host. @throws ConfigError when it is not valid */
export function readPolicy(text: string): Policy {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new ConfigError(policyPath, 'not JSON', 'a policy, or no file: correct it on the server');
  }
  const read = policyShape.safeParse(value);
  if (read.success) return read.data;
  const issue = read.error.issues[0];
  const problem = `${issue?.path.join('.') || 'the policy'}: ${issue?.message}`;
  throw new ConfigError(
    policyPath,
    problem,
    'see docs/reference/policy.md; correct it on the server',
  );
}

/** Nothing for an empty list: the policy shows what it allows. */
const some = (
  key: string,
  values: readonly unknown[] | undefined,
): Readonly<Record<string, unknown>> =>
  values === undefined || values.length === 0 ? {} : { [key]: values };

/** What a session may take, if nobody says otherwise: as in `host/celeriac_host/policy/document.py`. */
const usualSeconds = 4 * 3600;
const mostSeconds = 7 * 86_400;
/** For everything else that a deploy does. */
const besidesSeconds = 3600;

/** A unit that may take longer to stop needs a higher limit, or its deploys would be refused. */
function proposeLimits({ present, units }: PolicyFacts): Pick<Policy, 'limits'> {
  if (present?.limits !== undefined) return { limits: present.limits };
  const spans = units.map(
    ({ properties }) =>
      secondsOf(properties.TimeoutStopUSec) + secondsOf(properties.TimeoutStartUSec),
  );
  const needed = Math.max(...spans) + besidesSeconds;
  return needed <= usualSeconds ? {} : { limits: { seconds: Math.min(needed, mostSeconds) } };
}

const withPath = (url: string): string => (/^https?:\/\/[^/]+$/.test(url) ? `${url}/` : url);

function readersOf(given: PolicyGiven, present: Policy | null): readonly string[] {
  const known = present?.readers ?? [];
  return given.reader === null || known.includes(given.reader) ? known : [...known, given.reader];
}

function requireAppUser(units: readonly UnitFact[]): string {
  const users = units.map((unit) => {
    const { name, properties } = unit;
    if (name.includes('@.')) {
      const expected = 'an instance, such as celery@one.service';
      throw new ConfigError('input units', `${name} is a template`, expected);
    }
    requireLoaded(unit, 'input units', 'a unit that systemd has loaded');
    const user = properties.User || 'root';
    if (user === 'root' || user === '0' || properties.DynamicUser === 'yes') {
      throw new ConfigError(
        'input units',
        `${name} runs as ${properties.DynamicUser === 'yes' ? 'a dynamic user' : 'root'}, so anyone who can deploy it is root`,
        'a unit with `User=`: give the app a user of its own first',
      );
    }
    return user;
  });
  const [first = ''] = users;
  const other = users.findIndex((user) => user !== first);
  if (other > 0) {
    throw new ConfigError(
      'input units',
      `${units[0]?.name} runs as ${first}, ${units[other]?.name} as ${users[other]}`,
      'units of one user',
    );
  }
  return first;
}

const foundDatabases = (stores: readonly StoreFact[]): readonly string[] =>
  stores.filter(({ kind }) => kind === 'sqlite' || kind === 'postgresql').map(({ path }) => path);

interface Code {
  readonly checkout: string | null;
  readonly deployTo: string | null;
  readonly findings: readonly Finding[];
}

function proposeCode(given: PolicyGiven, { present, tree, units }: PolicyFacts): Code {
  const findings: readonly Finding[] = [];
  const unit = units[0]?.name;
  switch (given.source) {
    case 'none':
      return { checkout: null, deployTo: null, findings };
    case 'upload': {
      const deployTo = given.deployTo ?? present?.deployTo ?? null;
      if (deployTo === null) {
        throw new ConfigError('input deploy-to', 'missing `deploy-to`', 'the folder of the code');
      }
      return { checkout: null, deployTo, findings };
    }
    case 'git':
      if (tree.kind !== 'checkout') {
        const problem =
          tree.kind === 'unusable' ? tree.problem : `${unit} does not run from a Git checkout`;
        throw new ConfigError('input checkout', problem, 'the path of a checkout');
      }
      return { checkout: tree.path, deployTo: null, findings };
    case null: {
      const { checkout = null, deployTo = null } = present ?? {};
      if (present !== null || tree.kind !== 'checkout') return { checkout, deployTo, findings };
      const message = `${unit} runs from the checkout ${tree.path}; the key may not deploy code to it unless you give \`--source git\``;
      return { checkout, deployTo, findings: [{ level: 'notice', message }] };
    }
  }
}

function proposeSwap(
  { swapPath, swapSize }: PolicyGiven,
  { present }: PolicyFacts,
): Policy['swap'] {
  const known = present?.swap ?? null;
  if (swapSize !== null && swapSize.bytes === null) return null;
  if (swapSize === null && swapPath === null && present !== null) return known;
  return {
    path: swapPath ?? known?.path ?? '/swapfile',
    largestBytes: swapSize?.bytes ?? known?.largestBytes ?? largestSwap,
  };
}

function proposeSigners(given: PolicyGiven, present: Policy | null): Policy['signers'] {
  const { sshSigners, gpgKeyring } = given;
  if (sshSigners === null && gpgKeyring === null) return present?.signers ?? null;
  const known = present?.signers;
  const ssh = sshSigners ?? known?.ssh;
  const keyring = gpgKeyring ?? known?.gpgKeyring;
  return {
    ...(ssh !== undefined && ssh.length > 0 && { ssh: [...ssh] }),
    ...(keyring !== undefined && { gpgKeyring: keyring }),
  };
}

function warnOfSignatures({ checkout, deployTo, signers, appUser, access }: Policy): Finding[] {
  const uploads = (deployTo ?? null) !== null;
  const deploys = (checkout ?? null) !== null || uploads;
  if (!deploys || access === 'read') return [];
  if ((signers ?? null) !== null) {
    if (!uploads) return [];
    const refused = `every upload will be refused: an archive has no signature, and the policy has \`signers\`; deploy with \`--source git\`, or set \`"signers": null\` in the policy on the server`;
    return [{ level: 'warning', message: refused }];
  }
  const message = `anyone who has the key can run code as ${appUser}: commits need no signature; \`--allowed-signers-file\` or \`--gpg-keyring\` requires one`;
  return [{ level: 'warning', message }];
}
