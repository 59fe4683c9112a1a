import type { Progress } from '../../model/outcome.ts';
import type { Seconds } from '../../model/units.ts';
import type { OnProgress } from '../../ports/agent.ts';

export interface AskOptions {
  /** From sending to the answer. */
  readonly total?: Seconds;
  /** Between two messages. */
  readonly silence?: Seconds;
  readonly onProgress?: OnProgress;
}

/** A request that waits for its answer, with its time limits. */
export class PendingAsk {
  readonly answer: Promise<unknown>;
  /** What the host is doing now, for people. */
  point: string;
  readonly #step: string;
  readonly #options: AskOptions;
  readonly #onExpired: (limit: Seconds) => void;
  readonly #resolve: (answer: unknown) => void;
  readonly #reject: (error: Error) => void;
  readonly #totalTimer: NodeJS.Timeout | undefined;
  #silenceTimer: NodeJS.Timeout | undefined;

  constructor(step: string, options: AskOptions, onExpired: (limit: Seconds) => void) {
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    this.answer = promise;
    this.point = step;
    this.#step = step;
    this.#options = options;
    this.#onExpired = onExpired;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#totalTimer = this.#startTimer(options.total);
    this.#silenceTimer = this.#startTimer(options.silence);
  }

  resolve(answer: unknown): void {
    this.#stop();
    this.#resolve(answer);
  }

  reject(error: Error): void {
    this.#stop();
    this.#reject(error);
  }

  /** Throws what the listener throws. */
  tell(progress: Progress): void {
    clearTimeout(this.#silenceTimer);
    this.#silenceTimer = this.#startTimer(this.#options.silence);
    if (progress.kind === 'step-started') this.point = `${this.#step}: ${progress.title}`;
    this.#options.onProgress?.(progress);
  }

  #startTimer(limit: Seconds | undefined): NodeJS.Timeout | undefined {
    if (limit === undefined) return undefined;
    // A longer timer would fire at once.
    return setTimeout(() => this.#onExpired(limit), Math.min(limit * 1000, 2 ** 31 - 1));
  }

  #stop(): void {
    clearTimeout(this.#totalTimer);
    clearTimeout(this.#silenceTimer);
  }
}
