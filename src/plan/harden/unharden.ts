import { policyPath } from '../../config/policy.ts';
import type { FileFact } from '../../model/facts/host.ts';
import type { Finding, Operation, Plan } from '../../model/operation.ts';
import { unifiedDiff } from '../text-diff.ts';
import type { HardenFacts } from './harden.ts';
import {
  agentPath,
  keyOptions,
  keysPath,
  policyFolder,
  programFolder,
  schemaPath,
  sudoersPath,
  sudoersText,
} from './places.ts';

/**
 * Plans the way back: what harden made goes, first what lets a key in. What somebody else wrote there
 * stays, and is reported.
 *
 * @param facts with what the users own
 */
export function planUnharden(facts: HardenFacts, users: readonly string[]): Plan {
  const operations: Operation[] = [];
  const findings: Finding[] = [];
  const remove = (path: string, title: string, why: string, isOurs = true): boolean => {
    const file = facts.files[path];
    if (file === undefined || file.kind === 'absent') return true;
    if (file.kind !== 'file' || !isOurs) {
      findings.push(stays(path, 'it is not as `celeriac harden` writes it'));
      return false;
    }
    const { sha256: expects } = file;
    operations.push({ op: 'remove-file', path, expects, title, why, ...diffOf(path, file) });
    return true;
  };
  const why = 'hardened mode ends';
  for (const user of users) {
    const sudoers = sudoersPath(user);
    const isOurs = textOf(facts, sudoers) === sudoersText(user);
    remove(sudoers, `take the right to run the agent from ${user}`, why, isOurs);
  }
  for (const user of users) {
    const keys = keysPath(user);
    remove(keys, `remove the keys of ${user}`, why, areOurs(textOf(facts, keys)));
  }
  planAgent(facts, operations, findings);
  remove(policyPath, 'remove the policy', why);
  remove(schemaPath, 'remove its schema', why);
  for (const folder of [policyFolder, programFolder]) {
    const names = facts.hardening.folders[folder] ?? null;
    const going = operations.flatMap((each) => (each.op === 'remove-file' ? [each.path] : []));
    if (!names?.every((name) => going.includes(`${folder}/${name}`))) continue;
    const title = `remove the empty folder ${folder}`;
    operations.push({ op: 'remove-folder', path: folder, title, why });
  }
  for (const user of users) planUser(facts, user, operations, findings);
  const satisfied = operations.length === 0 ? ['no hardened mode on this host'] : [];
  return { operations, satisfied, findings };
}

function planAgent(
  { hardening: { agent } }: HardenFacts,
  operations: Operation[],
  findings: Finding[],
): void {
  if (agent.kind === 'absent') return;
  if (agent.kind !== 'agent' || agent.version === null) {
    findings.push(stays(agentPath, 'it is not an agent of Celeriac'));
    return;
  }
  operations.push({
    op: 'remove-file',
    path: agentPath,
    expects: agent.sha256,
    title: `remove agent ${agent.version}`,
    why: 'hardened mode ends',
  });
}

function planUser(
  { hardening, files }: HardenFacts,
  user: string,
  operations: Operation[],
  findings: Finding[],
): void {
  const account = hardening.accounts[user] ?? null;
  if (account === null) return;
  const owned = hardening.owned?.[user] ?? { paths: [], whole: false };
  const keys = files[keysPath(user)];
  const reason = !account.ours
    ? 'Celeriac did not create it'
    : account.processes > 0
      ? `${account.processes} processes run as it`
      : owned.paths.length > 0
        ? `it owns ${owned.paths.join(', ')}`
        : !owned.whole
          ? 'the disks are too large to find out in time whether it owns files'
          : keys?.kind === 'file' && !areOurs(keys.text)
            ? `${keysPath(user)} stays`
            : null;
  if (reason !== null) {
    findings.push(stays(`the user ${user}`, `${reason}; \`userdel ${user}\` removes it`));
    return;
  }
  operations.push({
    op: 'remove-user',
    user,
    title: `remove the system user ${user}`,
    why: 'it was created for the key, and owns nothing',
  });
}

const stays = (what: string, why: string): Finding => ({
  level: 'warning',
  message: `${what} stays: ${why}`,
});

const textOf = ({ files }: HardenFacts, path: string): string | null => {
  const file = files[path];
  return file?.kind === 'file' ? file.text : null;
};

/** Whether every key is bound to the installed agent. */
function areOurs(text: string | null): boolean {
  if (text === null) return false;
  return text.split('\n').every((line) => /^\s*(?:#|$)/.test(line) || line.startsWith(keyOptions));
}

const diffOf = (path: string, { text }: FileFact & { readonly kind: 'file' }) =>
  text === null || path === schemaPath ? {} : { diff: unifiedDiff(path, text, null) };
