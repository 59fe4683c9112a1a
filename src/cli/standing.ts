import type { Outcome } from '../model/outcome.ts';
import { formatInstant } from '../model/quantities.ts';

/** Ctrl+C: the message says in which state the host is. */
export class Interrupted extends Error {}

/**
 * Does the work of a run.
 *
 * @throws Interrupted instead of any error once it was interrupted
 */
export async function standingBy<Value>(
  { standing }: { readonly standing: Standing },
  interrupted: AbortSignal,
  work: () => Promise<Value>,
): Promise<Value> {
  try {
    return await work();
  } catch (error) {
    throw interrupted.aborted ? new Interrupted(standing.describe()) : error;
  }
}

/** How far a run is on the host: what Ctrl+C leaves behind. */
export class Standing {
  #asked = false;
  #opened: readonly string[] = [];
  #done: Outcome | null = null;

  /** The host has been asked to change something. */
  ask(): void {
    this.#asked = true;
    this.#opened = [];
  }

  /** The host has begun. */
  open(transactions: readonly string[]): void {
    this.#opened = transactions;
  }

  /** The host has ended what it was asked. */
  end(outcome: Outcome | null): void {
    this.#asked = false;
    this.#opened = [];
    if (outcome !== null) this.#done = outcome;
  }

  /** In which state the host is, for somebody who has pressed Ctrl+C. */
  describe(): string {
    const before = this.#done === null ? '' : `${describeDone(this.#done)}; `;
    if (this.#opened.length > 0) {
      const names = this.#opened.join(', ');
      const goesOn =
        'continues on the host until it is committed or undone; `celeriac releases` shows how it ended';
      return `${before}transaction ${names} ${goesOn}`;
    }
    if (this.#asked) {
      return `${before}the host had been asked to begin; work that has begun on the host continues there until it is done, and \`celeriac releases\` shows what it did`;
    }
    return this.#done === null ? 'nothing was changed on the host' : describeDone(this.#done);
  }
}

function describeDone({ transaction, result, confirmBy }: Outcome): string {
  if (result !== 'committed') return `transaction ${transaction} was undone`;
  const wait =
    confirmBy === undefined
      ? ''
      : `, and awaits its verdict: unless \`celeriac verify\` confirms it by ${formatInstant(confirmBy)}, the host rolls back automatically`;
  return `transaction ${transaction} is committed${wait}`;
}
