import type { FleetValues } from '../config/fleet-file.ts';
import { openRunClone } from '../use-case/offer-code.ts';
import type { CommandTools } from './command.ts';
import type { GivenFlags } from './flags.ts';

/**
 * The commit that a deploy brings to the host; empty: it brings no code.
 *
 * @param here the commit that is checked out
 */
export async function commitOf(
  flags: GivenFlags,
  fleet: FleetValues,
  here: () => Promise<string>,
): Promise<string> {
  const source = flags.get('source') ?? fleet.get('source')?.text ?? 'none';
  const named = flags.get('commit') ?? fleet.get('commit')?.text ?? '';
  return source === 'none' ? '' : named || (await here());
}

/** Without a workflow run, the commit is what the person has in front of them. */
export async function commitHere({ terminal }: Pick<CommandTools, 'terminal'>): Promise<string> {
  const { commit, changed } = await openRunClone().head();
  terminal.note(`commit: ${commit}, which is checked out in ${process.cwd()}`);
  if (changed) {
    terminal.note('warning: uncommitted changes in this folder are not deployed');
  }
  return commit;
}
