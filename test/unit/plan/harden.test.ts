import { describe, expect, test } from 'vitest';
import { type Policy, policyPath } from '../../../src/config/policy.ts';
import type { FileFact } from '../../../src/model/facts/host.ts';
import type { StoreFact } from '../../../src/model/facts/store.ts';
import type { UnitFact } from '../../../src/model/facts/unit.ts';
import type { HardeningFact } from '../../../src/model/hardening.ts';
import type { Operation } from '../../../src/model/operation.ts';
import { bytes, sha256Text } from '../../../src/model/units.ts';
import {
  type HardenDesired,
  type HardenFacts,
  hardenQuery,
  planHarden,
} from '../../../src/plan/harden/harden.ts';
import { keysPath, schemaPath, sudoersPath } from '../../../src/plan/harden/places.ts';
import {
  type PolicyFacts,
  type PolicyGiven,
  proposePolicy,
  readPolicy,
} from '../../../src/plan/harden/propose-policy.ts';
import { planUnharden } from '../../../src/plan/harden/unharden.ts';
import { renderCommands } from '../../../src/report/shell-commands.ts';
import { realFact } from '../../lib/real-facts.ts';

const key = { type: 'ssh-ed25519', base64: 'AAAAC3NzaC1lZDI1NTE5AAAA', comment: 'ci' };
const line = `restrict,command="sudo -n /usr/local/lib/celeriac/agent" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA ci`;
const policy: Policy = {
  version: 1,
  access: 'change',
  units: ['shop-worker.service'],
  appUser: 'shop',
  databases: [],
  checkout: null,
  deployTo: null,
  swap: null,
  signers: null,
};
const desired: HardenDesired = {
  policy,
  schema: '{}\n',
  logins: [{ user: 'celeriac', keys: [key], access: 'change' }],
};

const file = (text: string, mode = '0644', owner = 'root'): FileFact => ({
  kind: 'file',
  text,
  sha256: sha256Text('0'.repeat(64)),
  sizeBytes: bytes(text.length),
  mode,
  owner,
  group: owner,
});
const absent: FileFact = { kind: 'absent' };

/** A host without anything, as a real one said it. */
function bare(changes: Partial<HardeningFact> = {}): HardenFacts {
  const fact = realFact('hardening');
  return {
    hardening: {
      ...fact,
      agent: { kind: 'absent' },
      accounts: { celeriac: null },
      owned: { celeriac: { paths: [], whole: true } },
      sshd: { celeriac: { authorizedkeysfile: ['.ssh/authorized_keys', '.ssh/authorized_keys2'] } },
      folders: {},
      loose: [],
      sudoers: { visudo: true, problem: null },
      ...changes,
    },
    files: {
      [policyPath]: absent,
      [schemaPath]: absent,
      [keysPath('celeriac')]: absent,
      [sudoersPath('celeriac')]: absent,
    },
  };
}

const ours = {
  uid: 999,
  home: '/home/celeriac',
  shell: '/bin/sh',
  groups: [],
  ours: true,
  processes: 0,
};

/** A host on which everything is as desired. */
function hardened(changes: Partial<HardeningFact> = {}): HardenFacts {
  const { version } = realFact('hardening');
  const agent = { mode: '0755', owner: 'root', version, same: true };
  return {
    hardening: {
      ...bare().hardening,
      agent: { kind: 'agent', sha256: sha256Text('0'.repeat(64)), ...agent },
      accounts: { celeriac: ours },
      folders: {
        '/etc/celeriac': ['policy.json', 'policy.schema.json'],
        '/usr/local/lib/celeriac': ['agent', '8ec8082386e2'],
      },
      ...changes,
    },
    files: {
      [policyPath]: file(`${JSON.stringify(policy)}\n`),
      [schemaPath]: file('{}\n'),
      [keysPath('celeriac')]: file(`# ours\n${line}\n`),
      [sudoersPath('celeriac')]: file(
        'celeriac ALL=(root) NOPASSWD: /usr/local/lib/celeriac/agent ""\n',
        '0440',
      ),
    },
  };
}

const verbs = (operations: readonly Operation[]) => operations.map(({ op }) => op);
const keep: HardenDesired = {
  ...desired,
  logins: [{ user: 'celeriac', keys: null, access: 'change' }],
};

describe('harden', () => {
  test('installs what runs before it lets anybody in, and proves it last', () => {
    const { operations } = planHarden(bare(), desired);
    expect(verbs(operations)).toEqual([
      'install-agent',
      'write-file',
      'write-file',
      'create-user',
      'write-file',
      'install-sudoers',
      'prove-agent',
    ]);
    expect(operations.at(4)).toMatchObject({
      path: '/home/celeriac/.ssh/authorized_keys',
      mode: '0644',
      text: expect.stringContaining(`\n${line}\n`),
      diff: expect.stringContaining(`+${line}`),
    });
    expect(operations.at(5)).toMatchObject({
      path: '/etc/sudoers.d/celeriac',
      text: 'celeriac ALL=(root) NOPASSWD: /usr/local/lib/celeriac/agent ""\n',
      expects: null,
    });
  });

  test('has nothing to do the second time, with and without the key', () => {
    const again = {
      ...desired,
      logins: [{ user: 'celeriac', keys: [key], access: 'change' as const }],
    };
    const facts = hardened();
    expect(planHarden(facts, keep).operations).toEqual([]);
    const written = `# Written by \`celeriac harden\`.\n${line}\n`;
    const files = { ...facts.files, [keysPath('celeriac')]: file(written) };
    expect(planHarden({ ...facts, files }, again).operations).toEqual([]);
  });

  test('installs a newer agent alone, without the key', () => {
    const { agent } = hardened().hardening;
    const older = hardened({ agent: { ...agent, version: '0'.repeat(12), same: false } as never });
    const { operations } = planHarden(older, keep);
    expect(verbs(operations)).toEqual(['install-agent', 'prove-agent']);
    expect(operations[0]?.why).toBe('the one there is 000000000000');
  });

  test.each([
    ['a sudoers file of another mode', sudoersPath('celeriac'), ['install-sudoers', 'prove-agent']],
    ['keys that others can read is as it should be', keysPath('celeriac'), []],
  ])('repairs %s', (_, path, expected) => {
    const facts = hardened();
    const there = facts.files[path];
    if (there?.kind !== 'file') throw new Error(path);
    const files = { ...facts.files, [path]: { ...there, mode: '0644' } };
    expect(verbs(planHarden({ ...facts, files }, keep).operations)).toEqual(expected);
  });

  test('gives back to root what somebody else owns', () => {
    const facts = hardened();
    const files = { ...facts.files, [keysPath('celeriac')]: file(`${line}\n`, '0644', 'celeriac') };
    const { operations } = planHarden({ ...facts, files }, keep);
    expect(verbs(operations)).toEqual(['set-mode', 'prove-agent']);
  });

  test.each([
    [{ checkout: '/home/maria/thumbs' }, '/home/maria', true],
    [{ deployTo: '/home/maria/thumbs' }, '/home/maria', true],
    [{ checkout: '/srv/thumbs' }, '/home/maria', false],
  ])('code %j below a folder of a person: %s is not to be given to root', (code, loose, isCode) => {
    const at = { ...desired, policy: { ...desired.policy, checkout: null, ...code } };
    const [path] = Object.values(code);
    const asked = hardenQuery(['celeriac'], false, path).hardening.guarded;
    expect(asked).toContain(isCode ? '/home/maria' : '/srv');
    const facts = bare({ loose: [{ path: loose, owner: 'maria', mode: '0755' }] });
    expect(() => planHarden(facts, at)).toThrow(
      expect.objectContaining({
        expected: isCode
          ? expect.not.stringContaining('chown')
          : expect.stringContaining(`chown root ${loose}`),
      }),
    );
  });

  test.each<[string, Partial<HardeningFact>]>([
    ['owner root', { loose: [{ path: '/usr/local', owner: 'staff', mode: '2775' }] }],
    ['sudo: `apt-get install sudo`', { sudoers: { visudo: false, problem: null } }],
    ['correct it with `visudo` first', { sudoers: { visudo: true, problem: 'line 3: error' } }],
    ['a name that is not in use', { accounts: { celeriac: { ...ours, ours: false } } }],
    ['usermod --home', { accounts: { celeriac: { ...ours, home: '/srv' } } }],
    ['no file: move it away', { agent: { kind: 'symlink', target: '/bin/sh' } }],
    ['`PubkeyAuthentication yes`', { sshd: { celeriac: { pubkeyauthentication: ['no'] } } }],
    ['`AuthorizedKeysFile', { sshd: { celeriac: { authorizedkeysfile: ['/etc/keys/%u'] } } }],
    ['no `ForceCommand`', { sshd: { celeriac: { forcecommand: ['internal-sftp'] } } }],
    ['`AllowUsers` with celeriac', { sshd: { celeriac: { allowusers: ['root', 'deploy@*'] } } }],
    ['`DenyUsers` without', { sshd: { celeriac: { denyusers: ['celer*'] } } }],
    ['`AllowGroups` with', { sshd: { celeriac: { allowgroups: ['ssh-users'] } } }],
  ])('refuses, and expects %s', (expected, changes) => {
    expect(() => planHarden(bare(changes), desired)).toThrow(
      expect.objectContaining({ expected: expect.stringContaining(expected) }),
    );
  });

  test('lets sshd restrict who may log in, if that includes the user', () => {
    const sshd = { celeriac: { allowusers: ['root', 'celer*@10.0.*'], forcecommand: ['none'] } };
    expect(planHarden(bare({ sshd }), desired).operations).toHaveLength(7);
  });

  test('does not take a key that is not bound to the agent for one of its own', () => {
    const facts = hardened();
    const other = `${line}\nssh-ed25519 AAAA somebody\n`;
    const files = { ...facts.files, [keysPath('celeriac')]: file(other) };
    expect(() => planHarden({ ...facts, files }, keep)).toThrow('does not run the installed agent');
    expect(() => planHarden(bare(), keep)).toThrow('no key is known');
  });
});

describe('unharden', () => {
  test('takes back what lets a key in first, and the user last', () => {
    const { operations, findings } = planUnharden(hardened(), ['celeriac']);
    expect(operations.map((each) => ('path' in each ? each.path : each.op))).toEqual([
      '/etc/sudoers.d/celeriac',
      '/home/celeriac/.ssh/authorized_keys',
      '/usr/local/lib/celeriac/agent',
      '/etc/celeriac/policy.json',
      '/etc/celeriac/policy.schema.json',
      '/etc/celeriac',
      'remove-user',
    ]);
    expect(findings).toEqual([]);
    expect(planUnharden(bare(), ['celeriac']).operations).toEqual([]);
  });

  test.each<[string, Partial<HardeningFact>]>([
    ['it owns /srv/x', { owned: { celeriac: { paths: ['/srv/x'], whole: true } } }],
    ['too large', { owned: { celeriac: { paths: [], whole: false } } }],
    ['2 processes', { accounts: { celeriac: { ...ours, processes: 2 } } }],
    ['did not create it', { accounts: { celeriac: { ...ours, ours: false } } }],
  ])('leaves a user, and says why: %s', (why, changes) => {
    const { operations, findings } = planUnharden(hardened(changes), ['celeriac']);
    expect(verbs(operations)).not.toContain('remove-user');
    expect(findings).toEqual([
      { level: 'warning', message: expect.stringMatching(`^the user celeriac stays: .*${why}`) },
    ]);
  });

  test('leaves what somebody else wrote', () => {
    const facts = hardened({ folders: { '/etc/celeriac': ['policy.json', 'notes'] } });
    const files = {
      ...facts.files,
      [sudoersPath('celeriac')]: file('celeriac ALL=(ALL) ALL\n', '0440'),
      [keysPath('celeriac')]: file('ssh-ed25519 AAAA somebody\n'),
    };
    const { operations, findings } = planUnharden({ ...facts, files }, ['celeriac']);
    expect(verbs(operations)).toEqual(['remove-file', 'remove-file', 'remove-file']);
    expect(findings.map(({ message }) => message.split(' stays')[0])).toEqual([
      '/etc/sudoers.d/celeriac',
      '/home/celeriac/.ssh/authorized_keys',
      'the user celeriac',
    ]);
  });
});

const nothing: PolicyGiven = {
  access: null,
  reader: null,
  companions: null,
  databases: null,
  source: null,
  deployTo: null,
  swapPath: null,
  swapSize: null,
  urls: null,
  tasks: null,
  commands: null,
  writablePaths: null,
  sshSigners: null,
  gpgKeyring: null,
};

function unit(name: string, user = 'shop', loadState = 'loaded', more = {}): UnitFact {
  const properties = { User: user, ...more };
  return { ...realFact('unit'), name, loadState, properties };
}

const tree = {
  kind: 'checkout',
  path: '/srv/shop',
  user: 'shop',
  head: 'a'.repeat(40),
  branch: 'main',
  known: [],
  shallow: [],
  dirty: [],
  dirtyCount: 0,
} as const;

const known: PolicyFacts = {
  present: null,
  units: [unit('shop-worker.service')],
  stores: [
    { kind: 'absent', path: '/srv/none.db' },
    { kind: 'postgresql', path: 'postgresql://shop@localhost/shop', user: 'shop', tables: [] },
  ] satisfies StoreFact[],
  tree,
};

describe('the policy', () => {
  test('allows at first what the units need at least, and says what it does not', () => {
    const { policy: proposed, findings } = proposePolicy(nothing, known);
    expect(proposed).toEqual({
      $schema: './policy.schema.json',
      version: 1,
      access: 'change',
      units: ['shop-worker.service'],
      appUser: 'shop',
      databases: ['postgresql://shop@localhost/shop'],
      checkout: null,
      deployTo: null,
      swap: { path: '/swapfile', largestBytes: 4 * 1024 ** 3 },
      sysctl: { 'vm.swappiness': [0, 200] },
      signers: null,
    });
    expect(findings).toEqual([
      { level: 'notice', message: expect.stringContaining('--source git') },
    ]);
  });

  test('gives a unit the time that it may take to stop', () => {
    const limitsWith = (stop: string, present: Policy | null = null) => {
      const times = { TimeoutStopUSec: stop, TimeoutStartUSec: '1min 30s' };
      const units = [unit('a.service'), unit('b.service', 'shop', 'loaded', times)];
      return proposePolicy(nothing, { ...known, units, present }).policy.limits;
    };
    expect(limitsWith('16min')).toBeUndefined();
    expect(limitsWith('6h')).toEqual({ seconds: 6 * 3600 + 90 + 3600 });
    expect(limitsWith('2w')).toEqual({ seconds: 7 * 86_400 });
    expect(limitsWith('6h', { ...policy, limits: { seconds: 60 } })).toEqual({ seconds: 60 });
  });

  test('stays as it is where nothing is given', () => {
    const present: Policy = {
      ...policy,
      access: 'read',
      databases: ['/srv/a.db'],
      checkout: '/srv/shop',
      tasks: ['shop.probe'],
      limits: { seconds: 60 },
    };
    const { policy: proposed } = proposePolicy(nothing, { ...known, present });
    expect(proposed).toMatchObject({ ...present, units: ['shop-worker.service'] });
    const changed = proposePolicy(
      { ...nothing, databases: [], source: 'none', urls: ['http://127.0.0.1'] },
      { ...known, present },
    );
    expect(changed.policy).toMatchObject({
      access: 'read',
      databases: [],
      checkout: null,
      urls: ['http://127.0.0.1/'],
    });
  });

  test('warns when whoever has the key can run code, unless commits are signed', () => {
    const git = { ...nothing, source: 'git' } as const;
    const { policy: proposed, findings } = proposePolicy(git, known);
    expect(proposed.checkout).toBe('/srv/shop');
    expect(findings).toEqual([
      { level: 'warning', message: expect.stringContaining('can run code as shop') },
    ]);
    const sshSigners = [{ name: 'alice@example.com', key: 'ssh-ed25519 AAAA' }];
    const signed = proposePolicy({ ...git, sshSigners }, known);
    expect([signed.policy.signers, signed.findings]).toEqual([{ ssh: sshSigners }, []]);
    const upload = { ...nothing, source: 'upload', deployTo: '/srv/releases' } as const;
    const { findings: refused } = proposePolicy(upload, { ...known, present: signed.policy });
    expect(refused.map(({ message }) => message)).toContainEqual(
      expect.stringContaining('every upload will be refused'),
    );
  });

  test('has swap unless it is off, as the action provision needs', () => {
    const asked = { ...nothing, swapPath: '/swap' };
    expect(proposePolicy(asked, known).policy.swap?.path).toBe('/swap');
    const off = proposePolicy({ ...nothing, swapSize: { bytes: null } }, known).policy;
    expect(off.swap).toBeNull();
    expect(proposePolicy(nothing, { ...known, present: off }).policy.swap).toBeNull();
  });

  test('adds a user that may only look, once', () => {
    const given = { ...nothing, reader: 'celeriac-plan' };
    const { policy: proposed } = proposePolicy(given, known);
    expect(proposed.readers).toEqual(['celeriac-plan']);
    const again = proposePolicy(given, { ...known, present: proposed });
    expect(again.policy).toEqual(proposed);
  });

  test.each([
    ['runs as root', [unit('a.service', '')]],
    ['runs as root', [unit('a.service', '0')]],
    ['runs as a dynamic user', [unit('a.service', 'x', 'loaded', { DynamicUser: 'yes' })]],
    ['no such unit on the host', [unit('a.service', 'shop', 'not-found')]],
    ['is a template', [unit('a@.service')]],
    ['a.service runs as shop, b.service as bob', [unit('a.service'), unit('b.service', 'bob')]],
  ])('is refused: %s', (problem, units) => {
    expect(() => proposePolicy(nothing, { ...known, units })).toThrow(problem);
  });

  test('on the host must be valid to be kept', () => {
    expect(readPolicy(JSON.stringify(policy))).toEqual(policy);
    expect(() => readPolicy('{')).toThrow('not JSON');
    expect(() => readPolicy('{"version": 2}')).toThrow('version');
  });
});

test('the same as commands names everything, and nothing else is known to it', () => {
  const { operations } = planHarden(bare(), desired);
  const script = renderCommands(operations, (python) => `#!${python} -IS\nagent\n`);
  expect(script).toContain('set -eu');
  expect(script).toContain("cat >/usr/local/lib/celeriac/agent.new <<'END_OF_FILE'\n#!");
  expect(script).toContain('visudo -cf "$draft"');
  expect(script).toContain(`${line}\n`);
  expect(renderCommands([], () => '')).toContain('Nothing to do');
  const foreign = { op: 'swap-on', path: '/swapfile', title: 't', why: 'w' } as const;
  expect(() => renderCommands([foreign], () => '')).toThrow('swap-on');
});
