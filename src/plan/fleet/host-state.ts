import type { HostEnd, HostState } from '../../model/fleet.ts';

/** What is known of the deploy of one host when it has ended, or was ended. */
export interface DeployResult {
  /** Whether every step succeeded. */
  readonly ok: boolean;
  readonly dryRun: boolean;
  /** The host was asked to change its worker. */
  readonly begun: boolean;
  /** How that transaction ended; `null`: there was none, or nobody has seen its end. */
  readonly result: 'committed' | 'undone' | 'undo-failed' | null;
  /** The host rolls back alone unless verify confirms the release. */
  readonly awaits: boolean;
  /** The gate has passed; on which release, only its confirmation tells. */
  readonly healthy: boolean;
  /** Verify has confirmed that transaction. */
  readonly confirmed: boolean;
  /** How the rollback after a failed gate ended; `null`: there was none. */
  readonly rolledBack: 'success' | 'failure' | null;
}

/** Where a deploy leaves its host. */
export function endOfDeploy(deploy: DeployResult): HostEnd {
  const { ok, dryRun, begun, result, awaits, healthy, confirmed, rolledBack } = deploy;
  const end = (state: HostState, why: string): HostEnd => ({ state, failed: !ok, why });
  if (dryRun) return end('untouched', ok ? 'dry run' : 'the dry run failed: see its job');
  // A gate that passed may have been followed by a confirmation that failed.
  if (result === 'committed' && rolledBack !== null) {
    const gate = healthy ? 'its release could not be confirmed' : 'its gate failed';
    return rolledBack === 'success'
      ? end('taken-back', gate)
      : end('unknown', `${gate}, and its rollback failed: see its job`);
  }
  if (healthy && result === 'committed' && awaits && !confirmed) {
    return { state: 'unknown', failed: true, why: unconfirmed };
  }
  if (healthy) {
    const what = result === 'committed' ? 'the new release' : 'nothing to change';
    return end('confirmed', ok ? what : `${what}, but another step failed: see its job`);
  }
  switch (result) {
    case 'committed':
      return end('unknown', `its gate did not finish. ${guarded}`);
    case 'undone':
      return end('taken-back', 'the deploy failed and was undone: see its job');
    case 'undo-failed':
      return end('unknown', 'the deploy failed, and not all of it could be undone: see its job');
    case null:
      if (begun) return end('unknown', `the outcome of its transaction is unknown. ${guarded}`);
      return end(
        'untouched',
        ok ? 'nothing was changed' : 'it failed before any change: see its job',
      );
  }
}

const unconfirmed =
  'its gate passed but confirmed nothing: `confirm-within` may have expired, so that the host rolled back, or another run deployed';

const guarded =
  'The host finishes or undoes it by itself, and rolls it back unless verify confirms it within `confirm-within`';

/** How a rollback by policy ended; `superseded`: another release ran by then, and nothing was undone. */
export type ReturnResult = 'undone' | 'superseded' | 'failed';

/** Where a rollback by policy leaves a host. */
export function endOfRollBack(result: ReturnResult): HostEnd {
  switch (result) {
    case 'undone':
      return { state: 'taken-back', failed: false, why: 'other hosts had failed' };
    case 'superseded': {
      const why = 'was not rolled back: another release runs now. Look at the run that deployed it';
      return { state: 'unknown', failed: true, why };
    }
    case 'failed':
      return { state: 'unknown', failed: true, why: 'its rollback failed: see its job' };
  }
}
