import { ConfigError } from '../model/errors.ts';
import type { LedgerRelease, ReleasesFact, TransactionFact } from '../model/facts/ledger.ts';
import { formatInstant } from '../model/quantities.ts';

export interface RollBack {
  /** To undo in this order: newest first. None: it is undone already, as was to be made sure. */
  readonly transactions: readonly string[];
  /** What is undone, for people. */
  readonly about: string;
  /** The transaction of the release that must run; `null`: whichever does, as it may be undone below others. */
  readonly newest: string | null;
}

/** The release that was to go back is not the one that runs. */
export class AnotherReleaseError extends ConfigError {}

const onlyNewest = 'newest:';

/** Errors list this many of the newest releases or transactions. */
const shown = 5;

/**
 * Chooses the transactions to undo for `target`: `previous` or the number of a release (0: the state
 * before Celeriac) to go back to, or a single transaction to undo. With `newest:` before it, its release must
 * no longer run: it is undone if it is the one that runs, and nothing is to do if it is undone already.
 *
 * @throws AnotherReleaseError when it is not
 * @throws ConfigError when the host knows no such release or transaction, or can no longer undo it
 */
export function chooseRollBack(
  target: string,
  { releases }: ReleasesFact,
  transactions: readonly TransactionFact[],
): RollBack {
  const standing = releases.filter(
    ({ transaction, verdict }) => transaction !== null && verdict !== 'rolled-back',
  );
  if (target === 'previous') {
    const newest = standing.at(-1);
    if (newest === undefined) {
      throw refuse('nothing was released on this host', 'a unit that was deployed before');
    }
    return undoAll([newest]);
  }
  if (/^[0-9]+$/.test(target)) return undoAll(newerThan(Number(target), releases, standing));
  if (!target.startsWith(onlyNewest)) {
    return { transactions: [target], about: aboutTransaction(target, transactions), newest: null };
  }
  const id = target.slice(onlyNewest.length);
  if (transactions.some((one) => one.id === id && one.state === 'undone')) {
    return { transactions: [], about: `transaction ${id}`, newest: null };
  }
  const running = standing.at(-1);
  if (running?.transaction !== id) {
    const problem = `another release has replaced that of transaction ${id}; nothing was undone`;
    const expected = `the newest release; the gate of ${running?.holder ?? 'another run'} decides about it`;
    throw new AnotherReleaseError('input roll-back', problem, expected);
  }
  return { transactions: [id], about: aboutTransaction(id, transactions), newest: id };
}

function newerThan(
  release: number,
  releases: readonly LedgerRelease[],
  standing: readonly LedgerRelease[],
): readonly LedgerRelease[] {
  const found = releases.find((one) => one.release === release);
  const numbers = [0, ...standing.map((one) => one.release)].slice(-shown).join(', ');
  if (found === undefined) {
    throw refuse(
      `release ${release} does not exist`,
      releases.length === 0 ? 'a unit that was deployed before' : `one of ${numbers}`,
    );
  }
  if (found.verdict === 'rolled-back') {
    throw refuse(`release ${release} was itself rolled back`, `one of ${numbers}`);
  }
  const newer = standing.filter((one) => one.release > release);
  if (newer.length === 0) {
    throw refuse(
      `release ${release} is already running on the host`,
      `an earlier one of ${numbers}`,
    );
  }
  return newer;
}

function undoAll(releases: readonly LedgerRelease[]): RollBack {
  const lost = releases.filter(({ kept }) => !kept);
  if (lost.length > 0) {
    throw refuse(
      `the host no longer keeps what it needs to undo release ${lost.map(({ release }) => release).join(', ')}`,
      'a newer release',
    );
  }
  const newestFirst = releases.toReversed();
  const names = newestFirst.map(
    ({ release, sha, at }) =>
      `release ${release}${sha === '' ? '' : ` (${sha.slice(0, 7)})`} of ${formatInstant(at)}`,
  );
  const transactions = newestFirst.flatMap(({ transaction }) => transaction ?? []);
  return { transactions, about: names.join(', '), newest: transactions[0] ?? null };
}

function aboutTransaction(id: string, transactions: readonly TransactionFact[]): string {
  const found = transactions.find((one) => one.id === id);
  if (found === undefined) {
    const known = transactions.filter((one) => one.state === 'committed').map((one) => one.id);
    throw refuse(
      `unknown transaction ${id}`,
      known.length === 0
        ? 'a transaction of this host, which has none yet'
        : `one of ${known.slice(-shown).join(', ')}`,
    );
  }
  if (found.state === 'undone') {
    throw refuse(`transaction ${id} is already undone`, 'a transaction that was committed');
  }
  return `transaction ${id} of ${formatInstant(found.startedAt)} (${found.holder})`;
}

const refuse = (problem: string, expected: string): ConfigError =>
  new ConfigError('input roll-back', problem, expected);
