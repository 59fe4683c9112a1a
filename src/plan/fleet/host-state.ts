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

/** Where the reason of a failure is; a run of a workflow has a job for each host. */
const inJob = 'see its job';

/**
 * Where a deploy leaves its host.
 *
 * @param reason of a failure, or where it is
 */
export function endOfDeploy(deploy: DeployResult, reason: string = inJob): HostEnd {
  const { ok, dryRun, begun, result, awaits, healthy, confirmed, rolledBack } = deploy;
  const end = (state: HostState, why: string): HostEnd => ({ state, failed: !ok, why });
  if (dryRun) return end('untouched', ok ? 'dry run' : `the dry run failed: ${reason}`);
  // A gate that passed may have been followed by a confirmation that failed.
  if (result === 'committed' && rolledBack !== null) {
    const gate = healthy ? 'its release could not be confirmed' : 'its gate failed';
    return rolledBack === 'success'
      ? end('rolled-back', gate)
      : end('unknown', `${gate}, and its rollback failed: ${reason}`);
  }
  if (healthy && result === 'committed' && awaits && !confirmed) {
    return { state: 'unknown', failed: true, why: unconfirmed };
  }
  if (healthy) {
    const what = result === 'committed' ? 'the new release' : 'nothing to change';
    return end('confirmed', ok ? what : `${what}, but another step failed: ${reason}`);
  }
  switch (result) {
    case 'committed':
      return end('unknown', `its gate did not finish. ${guarded}`);
    case 'undone':
      return end('rolled-back', `the deploy failed and was undone: ${reason}`);
    case 'undo-failed':
      return end('unknown', `the deploy failed, and not all of it could be undone: ${reason}`);
    case null:
      if (begun) return end('unknown', `the outcome of its transaction is unknown. ${guarded}`);
      return end(
        'untouched',
        ok ? 'nothing was changed' : `it failed before any change: ${reason}`,
      );
  }
}

const unconfirmed =
  'its gate passed but confirmed nothing: `confirm-within` may have expired, so that the host rolled back, or another run deployed';

const guarded =
  'The host finishes or undoes it by itself, and rolls it back unless verify confirms it within `confirm-within`';

/** How a rollback by policy ended; `superseded`: another release ran by then, and nothing was undone. */
export type ReturnResult = 'undone' | 'superseded' | 'failed';

/** Where a rollback by policy leaves a host. `reason`: of a failure, or where it is. */
export function endOfRollBack(result: ReturnResult, reason: string = inJob): HostEnd {
  switch (result) {
    case 'undone':
      return { state: 'rolled-back', failed: false, why: 'other hosts had failed' };
    case 'superseded': {
      const why = 'was not rolled back: another release runs now. Look at the run that deployed it';
      return { state: 'unknown', failed: true, why };
    }
    case 'failed':
      return { state: 'unknown', failed: true, why: `its rollback failed: ${reason}` };
  }
}
