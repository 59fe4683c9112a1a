import type { HardenValues, UnhardenValues } from '../config/harden-inputs.ts';
import { type Policy, policyPath, policySchema } from '../config/policy.ts';
import type { PublicKey } from '../config/public-keys.ts';
import type { SshSigner } from '../config/signers.ts';
import { ConfigError } from '../model/errors.ts';
import type { StoreFact } from '../model/facts/store.ts';
import type { UnitFact } from '../model/facts/unit.ts';
import type { Finding, Plan } from '../model/operation.ts';
import type { CodeTree } from '../model/release.ts';
import { codeOf, hardenQuery, type Login, planHarden } from '../plan/harden/harden.ts';
import { sudoersFolder, sudoersPath, sudoersText } from '../plan/harden/places.ts';
import { type PolicyGiven, proposePolicy, readPolicy } from '../plan/harden/propose-policy.ts';
import { planUnharden } from '../plan/harden/unharden.ts';
import type { Agent } from '../ports/agent.ts';
import type { Run } from './run.ts';

/** What comes from files; `null`: not given. */
export interface HardenFiles {
  readonly keys: readonly PublicKey[] | null;
  readonly readKeys: readonly PublicKey[] | null;
  readonly sshSigners: readonly SshSigner[] | null;
}

/**
 * Looks at the host and plans hardened mode.
 *
 * @throws ConfigError, HostError
 */
export async function lookAndHarden(
  run: Run,
  agent: Agent,
  inputs: HardenValues,
  files: HardenFiles,
): Promise<Plan> {
  const present = await lookAtPolicy(run, agent);
  const given = givenBy(inputs, files);
  const { policy, findings } = proposePolicy(given, {
    ...(await lookAtApp(agent, inputs, given, present)),
    present,
  });
  const logins = loginsOf(inputs, files, policy);
  const users = logins.map(({ user }) => user);
  const others = (await usersOfAgent(agent)).filter((user) => !users.includes(user));
  const facts = await agent.look(hardenQuery(users, false, codeOf(policy)));
  const schema = `${JSON.stringify(policySchema(), null, 2)}\n`;
  const plan = planHarden(facts, { policy, schema, logins });
  return { ...plan, findings: [...findings, ...others.map(warnOfUser), ...plan.findings] };
}

/** Looks at the host and plans the way back. @throws HostError */
export async function lookAndUnharden(
  run: Run,
  agent: Agent,
  inputs: UnhardenValues,
): Promise<Plan> {
  const present = await lookAtPolicy(run, agent, { isValid: false });
  const named = [inputs['deploy-user'], ...(present?.readers ?? [])];
  const users = [...new Set([...named, ...(await usersOfAgent(agent))])];
  return planUnharden(await agent.look(hardenQuery(users, true)), users);
}

/** Users whom a line of harden's lets run the agent, though a policy may have forgotten them. */
async function usersOfAgent(agent: Agent): Promise<readonly string[]> {
  const { hardening } = await agent.look(hardenQuery([]));
  const names = hardening.folders[sudoersFolder] ?? [];
  const { files } = await agent.look({ files: { paths: names.map(sudoersPath) } });
  return names.filter((name) => {
    const file = files[sudoersPath(name)];
    return file?.kind === 'file' && file.text === sudoersText(name);
  });
}

const warnOfUser = (user: string): Finding => ({
  level: 'warning',
  message: `${user} may run the agent, too, and is not one of \`readers\`, so its key has the access of the policy; \`rm ${sudoersPath(user)}\` on the server takes that from it`,
});

/** The policy that is there. @throws ConfigError when it is not valid, unless that does not matter */
async function lookAtPolicy(
  run: Run,
  agent: Agent,
  { isValid = true } = {},
): Promise<Policy | null> {
  const { files } = await run.look(agent, { files: { paths: [policyPath] } });
  const file = files[policyPath];
  if (file?.kind !== 'file') return null;
  try {
    return readPolicy(file.text ?? '');
  } catch (error) {
    if (isValid) throw error;
    return null;
  }
}

interface App {
  readonly units: readonly UnitFact[];
  readonly stores: readonly StoreFact[];
  readonly tree: CodeTree;
}

async function lookAtApp(
  agent: Agent,
  inputs: HardenValues,
  given: PolicyGiven,
  present: Policy | null,
): Promise<App> {
  const named = inputs.units.map((name) => (name.endsWith('.service') ? name : `${name}.service`));
  const names = [...new Set(named.length > 0 ? named : (present?.units ?? []))];
  const [first] = names;
  if (first === undefined) {
    const expected = 'the units of the workers, such as celery-worker.service';
    throw new ConfigError('input units', 'missing `units`', expected);
  }
  const { checkout } = inputs;
  const searched = given.databases === null && present === null;
  const { stores, release } = await agent.look({
    stores: { unit: first, databases: searched ? null : [], user: null },
    release: { unit: first, source: 'git', checkout: checkout.path, deployTo: null, user: null },
  });
  const units: UnitFact[] = [];
  for (const name of names) units.push((await agent.look({ unit: { name } })).unit);
  return { units, stores, tree: release.tree };
}

/** No text, no items and no choice: nothing is given. */
function givenBy(inputs: HardenValues, { sshSigners }: HardenFiles): PolicyGiven {
  const some = <Item>(items: readonly Item[]) => (items.length === 0 ? null : items);
  const databases = inputs.databases.filter((name) => name !== 'none');
  const companions = inputs['also-restart'];
  const urls = [...inputs.urls, ...companions.flatMap(({ url }) => (url === null ? [] : [url]))];
  const size = inputs['swap-size'];
  return {
    access: inputs.access || null,
    reader: inputs['read-user'] || null,
    companions: some(companions.map(({ unit }) => unit)),
    databases: inputs.databases.length === 0 ? null : databases,
    source: inputs.source || null,
    deployTo: inputs['deploy-to'].path,
    swapPath: inputs['swap-path'] || null,
    swapSize: size.bytes === null && !size.off ? null : { bytes: size.bytes },
    urls: some(urls),
    tasks: some(inputs.tasks),
    commands: some(inputs['before-start']),
    writablePaths: some(inputs['read-write-paths']),
    sshSigners,
    gpgKeyring: inputs['gpg-keyring'].path,
  };
}

function loginsOf(
  inputs: HardenValues,
  { keys, readKeys }: HardenFiles,
  policy: Policy,
): readonly Login[] {
  const user = inputs['deploy-user'];
  const readers = policy.readers ?? [];
  if (readers.includes(user)) {
    const expected = 'another user: one that may only look has a key of its own';
    throw new ConfigError('input read-user', `${user} is the user that deploys`, expected);
  }
  return [
    { user, keys, access: 'change' },
    ...readers.map((reader): Login => {
      const isGiven = reader === inputs['read-user'];
      return { user: reader, keys: isGiven ? readKeys : null, access: 'read' };
    }),
  ];
}
