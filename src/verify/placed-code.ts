import type { PlacedCode } from '../model/facts/ledger.ts';

const shownDigits = 12;
const shorten = (commit: string): string =>
  /^[0-9a-f]{40,64}$/.test(commit) ? commit.slice(0, shownDigits) : commit;

/** Why the code on the disk is not known to be that of the release; `null`: it is, or there is none. */
export function describeMovedCode(code: PlacedCode | null | undefined): string | null {
  if (code === null || code === undefined || code.actual === code.wanted) return null;
  const { path, wanted, actual, problem } = code;
  return actual === null
    ? `which code ${path} has is not known: ${problem}`
    : `${path} is at ${shorten(actual) || 'no release'}, not at ${shorten(wanted)} of the release`;
}
