import { type Policy, policyPath } from '../../config/policy.ts';
import { type PublicKey, renderPublicKey } from '../../config/public-keys.ts';
import { ConfigError } from '../../model/errors.ts';
import type { FileFact } from '../../model/facts/host.ts';
import type { FactQuery, FactsFor } from '../../model/facts.ts';
import type { Finding, Operation, Plan } from '../../model/operation.ts';
import { unifiedDiff } from '../text-diff.ts';
import { checkLogin } from './check-login.ts';
import {
  agentPath,
  homeOf,
  keyOptions,
  keysPath,
  policyFolder,
  programFolder,
  schemaPath,
  sudoersFolder,
  sudoersPath,
  sudoersText,
} from './places.ts';

/** A user that keys log in as. */
export interface Login {
  readonly user: string;
  /** `null`: those that are there stay. */
  readonly keys: readonly PublicKey[] | null;
  readonly access: 'change' | 'read';
}

export interface HardenDesired {
  readonly policy: Policy;
  /** The JSON Schema, as text. */
  readonly schema: string;
  readonly logins: readonly Login[];
}

/** @param code the folder of the app's code, above which all must be root's; `null`: none is deployed */
export function hardenQuery(users: readonly string[], search = false, code: string | null = null) {
  return {
    hardening: {
      users,
      agent: agentPath,
      guarded: [
        agentPath,
        policyPath,
        ...users.flatMap((user) => [homeOf(user), sudoersPath(user)]),
        ...foldersAbove(code).slice(-1),
      ],
      folders: [policyFolder, programFolder, sudoersFolder],
      search,
    },
    files: {
      paths: [
        policyPath,
        schemaPath,
        ...users.flatMap((user) => [keysPath(user), sudoersPath(user)]),
      ],
    },
  } as const satisfies FactQuery;
}

/** `/srv` and `/srv/shop` of `/srv/shop/code`. */
const foldersAbove = (path: string | null): readonly string[] => {
  const names = path?.split('/').slice(1, -1) ?? [];
  return names.map((_, at) => `/${names.slice(0, at + 1).join('/')}`);
};

/** Where deploys put the app's code. */
export const codeOf = ({ checkout, deployTo }: Policy): string | null =>
  checkout ?? deployTo ?? null;

export type HardenFacts = FactsFor<ReturnType<typeof hardenQuery>>;

/** The steps of a plan while it is made. */
interface Draft {
  readonly operations: Operation[];
  readonly satisfied: string[];
  readonly findings: Finding[];
}

/**
 * Plans hardened mode: the agent and its policy, then for each user its account, its keys and the one
 * line for sudo, and last the proof that it can start the agent.
 *
 * @throws ConfigError when the host would not be safe with it, or would not let the keys in
 */
export function planHarden(facts: HardenFacts, desired: HardenDesired): Plan {
  const draft: Draft = { operations: [], satisfied: [], findings: [] };
  checkPlaces(facts, desired.policy);
  for (const { user } of desired.logins) checkLogin(facts.hardening, user, draft.findings);
  planAgent(facts, draft);
  planPolicy(facts, desired, draft);
  for (const login of desired.logins) planLogin(facts, login, draft);
  if (draft.operations.length > 0) {
    for (const login of desired.logins) draft.operations.push(prove(facts, desired.policy, login));
  }
  return draft;
}

function checkPlaces({ hardening }: HardenFacts, policy: Policy): void {
  const code = codeOf(policy);
  const above = new Set(foldersAbove(code));
  const loose = hardening.loose.find(({ path }) => !above.has(path));
  if (loose !== undefined) {
    throw new ConfigError(
      'the host',
      `${loose.path} belongs to ${loose.owner} and has the mode ${loose.mode}: users other than root could replace what the key runs as root`,
      `owner root, and no write permission for others: \`chown root ${loose.path}; chmod go-w ${loose.path}\``,
    );
  }
  const [ofCode] = hardening.loose;
  if (ofCode !== undefined) {
    // The installed agent refuses each deploy by the same rule.
    const { path, owner, mode } = ofCode;
    throw new ConfigError(
      'the host',
      `the code is in ${code}, and ${path} above it belongs to ${owner} and has the mode ${mode}: every deploy would be refused, because others than root could put another folder in its place`,
      `the code where every folder above it is root's: move it, e.g. below /srv, and change the unit; or deploy by \`source: upload\` to such a folder`,
    );
  }
  const { visudo, problem } = hardening.sudoers;
  if (!visudo) {
    throw new ConfigError('the host', 'it has no sudo', 'sudo: `apt-get install sudo`');
  }
  if (problem !== null) {
    const expected = 'a valid sudoers: correct it with `visudo` first';
    throw new ConfigError('the host', `visudo finds an error in sudoers: ${problem}`, expected);
  }
}

function planAgent({ hardening }: HardenFacts, { operations, satisfied }: Draft): void {
  const { agent, version, python } = hardening;
  if (agent.kind === 'agent' && agent.same) {
    satisfied.push(`agent ${version} at ${agentPath}`);
    return;
  }
  if (agent.kind === 'symlink' || agent.kind === 'other') {
    const what = agent.kind === 'symlink' ? `a link to ${agent.target}` : `a ${agent.what}`;
    throw new ConfigError('the host', `${agentPath} is ${what}`, 'no file: move it away');
  }
  operations.push({
    op: 'install-agent',
    path: agentPath,
    version,
    python,
    expects: agent.kind === 'agent' ? agent.sha256 : null,
    title: `install agent ${version} as ${agentPath}`,
    why: whyAgent(agent, version),
  });
}

function whyAgent(agent: HardenFacts['hardening']['agent'], version: string): string {
  if (agent.kind !== 'agent') return 'there is none';
  if (agent.version === null) return 'the file there is not an agent of Celeriac';
  if (agent.version !== version) return `the one there is ${agent.version}`;
  return `its mode is ${agent.mode}, its owner ${agent.owner}, or it is run by another Python`;
}

function planPolicy(facts: HardenFacts, { policy, schema }: HardenDesired, draft: Draft): void {
  planFile(facts, draft, {
    path: schemaPath,
    text: schema,
    mode: '0644',
    title: 'write the JSON Schema of the policy, for editors',
    satisfied: '',
    showDiff: false,
  });
  const present = textOf(facts.files[policyPath]);
  const same = present !== null && inOrder(parsed(present)) === inOrder(policy);
  planFile(facts, draft, {
    path: policyPath,
    // Its layout is the owner's.
    text: same ? present : `${JSON.stringify(policy, null, 2)}\n`,
    mode: '0644',
    title: 'write the policy: what the key may ask for',
    satisfied: `policy at ${policyPath}`,
    showDiff: true,
  });
}

function planLogin(facts: HardenFacts, login: Login, draft: Draft): void {
  const { user } = login;
  const account = facts.hardening.accounts[user] ?? null;
  const text = keysText(facts, login);
  if (account === null) {
    draft.operations.push({
      op: 'create-user',
      user,
      home: homeOf(user),
      title: `add the system user ${user}`,
      why: 'it does not exist; the key logs in as this user, which has no password',
    });
  }
  planFile(facts, draft, {
    path: keysPath(user),
    text,
    mode: '0644',
    title: `let the ${login.keys?.length === 1 ? 'key' : 'keys'} of ${user} run the installed agent, and nothing else`,
    satisfied: `keys of ${user}`,
    showDiff: true,
  });
  const path = sudoersPath(user);
  const present = facts.files[path];
  const before = textOf(present);
  const wanted = sudoersText(user);
  if (present?.kind === 'file' && before === wanted && present.mode === '0440') {
    draft.satisfied.push(`sudo lets ${user} run the agent, and nothing else`);
    return;
  }
  draft.operations.push({
    op: 'install-sudoers',
    path,
    text: wanted,
    expects: hashOf(present, path),
    title: `let ${user} run the installed agent as root, and nothing else`,
    why: before === wanted ? 'its mode or owner is not that of sudoers' : 'sudo does not allow it',
    diff: unifiedDiff(path, before, wanted),
  });
}

function keysText(facts: HardenFacts, { user, keys }: Login): string {
  const path = keysPath(user);
  if (keys !== null) {
    const lines = keys.map((key) => `${keyOptions}${renderPublicKey(key)}`);
    return ['# Written by `celeriac harden`.', ...lines, ''].join('\n');
  }
  const present = textOf(facts.files[path]);
  const lines = (present ?? '').split('\n').filter((line) => !/^\s*(?:#|$)/.test(line));
  const other = lines.find((line) => !line.startsWith(keyOptions));
  if (present === null || lines.length === 0 || other !== undefined) {
    throw new ConfigError(
      'input public-key-file',
      other === undefined
        ? `no key is known that may log in as ${user}`
        : `${path} has a key that does not run the installed agent only`,
      'the file with the public key of the pipeline: `ssh-keygen -t ed25519 -f celeriac-key` makes celeriac-key.pub',
    );
  }
  return present;
}

interface Wanted {
  readonly path: string;
  readonly text: string;
  readonly mode: string;
  readonly title: string;
  readonly satisfied: string;
  readonly showDiff: boolean;
}

function planFile({ files }: HardenFacts, draft: Draft, wanted: Wanted): void {
  const { path, text, mode, title, satisfied, showDiff } = wanted;
  const present = files[path];
  const before = textOf(present);
  const isRoots = present?.kind === 'file' && present.owner === 'root';
  if (isRoots && before === text && present.mode === mode) {
    if (satisfied !== '') draft.satisfied.push(satisfied);
    return;
  }
  const expects = hashOf(present, path);
  if (before !== text || (present?.kind === 'file' && present.mode !== mode)) {
    draft.operations.push({
      op: 'write-file',
      path,
      text,
      mode,
      expects,
      title,
      why: expects === null ? 'there is none' : before === text ? 'its mode differs' : 'it differs',
      ...(showDiff && before !== text && { diff: unifiedDiff(path, before, text) }),
    });
  }
  if (present?.kind === 'file' && !isRoots) {
    draft.operations.push({
      op: 'set-mode',
      path,
      mode,
      owner: 'root',
      title: `give ${path} to root`,
      why: `it belongs to ${present.owner}`,
    });
  }
}

function prove({ hardening }: HardenFacts, policy: Policy, { user, access }: Login): Operation {
  return {
    op: 'prove-agent',
    user,
    path: agentPath,
    version: hardening.version,
    access: policy.access === 'read' ? 'read' : access,
    title: `start the agent as ${user}, as the key will`,
    why: 'this finds mistakes now, not at the next deploy',
  };
}

const textOf = (file: FileFact | undefined): string | null =>
  file?.kind === 'file' ? file.text : null;

/** @throws ConfigError when it is not a file */
function hashOf(file: FileFact | undefined, path: string) {
  if (file === undefined || file.kind === 'absent') return null;
  if (file.kind === 'file') return file.sha256;
  throw new ConfigError('the host', `${path} is not a regular file`, 'no file: move it away');
}

/** Its JSON, with the keys of each object in order. */
const inOrder = (value: unknown): string =>
  JSON.stringify(value, (_, part: unknown) =>
    typeof part === 'object' && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([one], [other]) => (one < other ? -1 : 1)))
      : part,
  );

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
