import { type CheckModule, checkOf, doubtful, fine, unknownCheck } from '../check.ts';
import { latest } from '../evidence.ts';
import { describeMovedCode } from '../placed-code.ts';

/** The code on the disk against the release that runs. */
export const code: CheckModule = {
  id: 'code',
  title: 'code of the release',
  proves:
    'The checkout, or the link `current`, is at the commit that the release that runs put there. While it is not, no soak proves the release.',
  doesNotProve:
    'That no file was edited, or that it was never moved in between. Nothing is compared until a release has put code in place. Another unit that is deployed from the same checkout moves it, too: a warning.',
  judge(seen) {
    const { code: placed } = latest(seen).releases;
    if (placed === null || placed === undefined) return [];
    const moved = describeMovedCode(placed);
    if (moved === null) return checkOf(code, [fine(`${placed.path} is as released`)]);
    if (placed.actual === null) return unknownCheck(code, moved);
    const next =
      'deploy what is to run: the worker still has what it loaded at its start, and gets what is there with its next one';
    return checkOf(code, [doubtful(moved, 'the commit of the release', next)]);
  },
};
