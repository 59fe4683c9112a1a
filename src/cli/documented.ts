import { type ExitCode, exitCodeOf } from './exit-code.ts';
import { Interrupted, standingBy } from './standing.ts';
import type { TerminalRun } from './terminal-run.ts';

/**
 * Does the work of a run, and prints its document at the end if it has one (`--json`): also when it
 * fails, but not when it is interrupted, as nobody knows the end then.
 *
 * @param own what is printed instead of the document; `null`: that
 * @param explain makes an error one that names what the person can change
 * @throws Interrupted instead of any error once it was interrupted
 */
export async function documented(
  run: TerminalRun,
  interrupted: AbortSignal,
  work: () => Promise<ExitCode>,
  {
    own = () => null,
    explain = (error) => error,
  }: { readonly own?: () => string | null; readonly explain?: (error: unknown) => unknown } = {},
): Promise<ExitCode> {
  const print = (error: unknown, code: ExitCode): void => {
    if (run.document === undefined) return;
    const text = own();
    if (text === null) run.printJson(run.document.finish(error, code));
    else run.print(text);
  };
  try {
    const code = await standingBy(run, interrupted, work);
    print(null, code);
    return code;
  } catch (error) {
    if (error instanceof Interrupted) throw error;
    const explained = explain(error);
    print(explained, exitCodeOf(explained));
    throw explained;
  }
}
