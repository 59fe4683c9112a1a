/** Where a work writes. */
export interface Screen {
  write(stream: 'stdout' | 'stderr', chunk: Buffer | string): void;
}

export const terminal: Screen = { write: (stream, chunk) => void process[stream].write(chunk) };

/** Shows nothing until the end. */
class LateScreen implements Screen {
  readonly #chunks: Parameters<Screen['write']>[] = [];

  write(...chunk: Parameters<Screen['write']>): void {
    this.#chunks.push(chunk);
  }

  showOn(screen: Screen): void {
    for (const chunk of this.#chunks) screen.write(...chunk);
  }
}

/**
 * Runs works side by side, started in their order, and returns their results in that order.
 *
 * What a work writes is shown whole, once it has ended, so that nothing mixes; one alone is shown at
 * once.
 *
 * @param limit how many run at a time
 */
export async function runSideBySide<Result>(
  works: readonly ((screen: Screen) => Promise<Result>)[],
  limit: number,
  screen: Screen = terminal,
): Promise<readonly Result[]> {
  const results = new Map<number, Result>();
  const queue = [...works.entries()];
  const runNext = async (): Promise<void> => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      const [at, work] = next;
      const late = new LateScreen();
      results.set(at, await work(works.length > 1 ? late : screen));
      late.showOn(screen);
    }
  };
  await Promise.all(Array.from({ length: limit }, runNext));
  return [...works.keys()].map((at) => results.get(at) as Result);
}
