import { describe, expect, test } from 'vitest';
import { runSideBySide, type Screen } from '../../../tools/side-by-side.ts';

/** What is shown, in its order. */
class Shown implements Screen {
  readonly lines: string[] = [];

  write(stream: 'stdout' | 'stderr', chunk: Buffer | string): void {
    this.lines.push(`${stream} ${chunk}`);
  }
}

/** Writes twice, and ends when it is told. */
class Work {
  readonly #end = Promise.withResolvers<void>();
  readonly name: string;
  hasStarted = false;

  constructor(name: string) {
    this.name = name;
  }

  readonly run = async (screen: Screen): Promise<string> => {
    this.hasStarted = true;
    screen.write('stdout', `${this.name} begins`);
    await this.#end.promise;
    screen.write('stderr', `${this.name} ends`);
    return this.name;
  };

  async end(): Promise<void> {
    this.#end.resolve();
    await new Promise(setImmediate);
  }
}

describe('works side by side', () => {
  test('are as many at a time as allowed, shown whole as they end, returned in their order', async () => {
    const works = ['a', 'b', 'c'].map((name) => new Work(name));
    const [a, b, c] = works as [Work, Work, Work];
    const shown = new Shown();
    const all = runSideBySide(
      works.map(({ run }) => run),
      2,
      shown,
    );
    expect(works.map(({ hasStarted }) => hasStarted)).toEqual([true, true, false]);
    expect(shown.lines).toEqual([]);
    await b.end();
    expect(c.hasStarted).toBe(true);
    expect(shown.lines).toEqual(['stdout b begins', 'stderr b ends']);
    await c.end();
    await a.end();
    expect(await all).toEqual(['a', 'b', 'c']);
    expect(shown.lines.slice(2)).toEqual([
      ...['stdout c begins', 'stderr c ends'],
      ...['stdout a begins', 'stderr a ends'],
    ]);
  });

  test('one alone is shown at once', async () => {
    const work = new Work('a');
    const shown = new Shown();
    const all = runSideBySide([work.run], 2, shown);
    expect(shown.lines).toEqual(['stdout a begins']);
    await work.end();
    expect(await all).toEqual(['a']);
  });

  test('a failure of one is that of all', async () => {
    const fails = () => Promise.reject(new Error('no such program'));
    await expect(runSideBySide([fails, async () => 'b'], 2, new Shown())).rejects.toThrow(
      'no such',
    );
  });

  test('none is no result', async () => {
    expect(await runSideBySide([], 2, new Shown())).toEqual([]);
  });
});
