import type { GitInPlace } from '../../config/release-desired.ts';
import { ConfigError } from '../../model/errors.ts';
import type { Finding, Operation } from '../../model/operation.ts';
import { formatBytes } from '../../model/quantities.ts';
import type { CheckoutTree, CodeOffer, CodeTree, ReleaseFact } from '../../model/release.ts';
import { describeStep, short } from './commits.ts';
import { planDependencies } from './dependencies.ts';
import { type ReleaseContext, type ReleasePlan, untouched } from './release-plan.ts';

export function planGit(
  fact: ReleaseFact,
  from: GitInPlace,
  offer: CodeOffer,
  context: ReleaseContext,
): ReleasePlan {
  const tree = requireCheckout(fact.tree, context);
  const { commit } = offer;
  const moves = tree.head !== commit;
  if (moves) refuseDirty(tree, from);
  const step = describeStep(tree.head, commit, offer.log);
  const where = { checkout: tree.path } as const;
  const dependencies = planDependencies(fact, offer, context, where, context.interpreter);
  const fetch: Operation[] =
    moves && offer.parcel !== null
      ? [
          {
            op: 'fetch-commit',
            ...where,
            user: context.user,
            commit,
            sha256: offer.parcel.sha256,
            title: `fetch commit ${short(commit)} into ${tree.path}`,
            why: `the checkout does not have it; ${formatBytes(offer.parcel.sizeBytes)} to transfer`,
          },
        ]
      : [];
  const checkout: Operation[] = moves
    ? [
        {
          op: 'checkout-code',
          ...where,
          user: context.user,
          commit,
          expects: tree.head,
          stash: from.dirtyTree === 'stash',
          title: `check out ${short(commit)} in ${tree.path}${tree.branch === null ? '' : ` on ${tree.branch}`}`,
          why: step,
        },
      ]
    : [];
  return {
    ...untouched,
    prepare: [...fetch, ...dependencies.operations],
    inPlace: checkout,
    trial: moves ? { when: 'in-place' } : untouched.trial,
    reasons: [...(moves ? [`its code changes ${step}`] : []), ...dependencies.reasons],
    satisfied: [
      ...(moves ? [] : [`code: ${tree.path} is at ${short(commit)}`]),
      ...dependencies.satisfied,
    ],
    findings: describeCheckout(tree, offer, moves),
  };
}

function requireCheckout(tree: CodeTree, { unit, workingDirectory }: ReleaseContext): CheckoutTree {
  if (tree.kind === 'checkout') return tree;
  const expected = 'a Git checkout that the unit works in, or its path in the input `checkout`';
  switch (tree.kind) {
    case 'absent':
      throw new ConfigError(
        'input checkout',
        tree.path === '' || tree.path === '/'
          ? `${unit} has no WorkingDirectory=, so its checkout is unknown`
          : `${tree.path} is not in a Git checkout`,
        expected,
      );
    case 'unusable':
      throw new ConfigError('input checkout', tree.problem, expected);
    case 'not-own':
      throw new ConfigError('input checkout', tree.problem, tree.fix);
    default:
      throw new ConfigError('input checkout', `${workingDirectory} was not inspected`, expected);
  }
}

function refuseDirty(tree: CheckoutTree, { dirtyTree }: GitInPlace): void {
  if (tree.dirtyCount === 0 || dirtyTree === 'stash') return;
  throw new ConfigError(
    'input dirty-tree',
    `${tree.path} has uncommitted changes: ${listDirty(tree)}`,
    'a clean checkout: commit or discard them on the host, or set `dirty-tree: stash`',
  );
}

function listDirty({ dirty, dirtyCount }: CheckoutTree): string {
  const shown = dirty.slice(0, 5);
  const more = dirtyCount - shown.length;
  return `${shown.join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}

function describeCheckout(
  tree: CheckoutTree,
  { log }: CodeOffer,
  moves: boolean,
): readonly Finding[] {
  if (!moves) {
    return tree.dirtyCount === 0
      ? []
      : [
          {
            level: 'warning',
            message: `${tree.path} has uncommitted changes, and the worker runs with them: ${listDirty(tree)}`,
          },
        ];
  }
  if (log !== null && log.direction !== 'aside') return [];
  return [
    {
      level: 'warning',
      message:
        log === null
          ? `commit ${short(tree.head)} of ${tree.path} is not in this run's clone: it was made on the host, or is older than the history of the clone. It stays in the checkout's reflog`
          : `commit ${short(tree.head)} of ${tree.path} is not part of the deployed history. It stays in the checkout's reflog`,
    },
  ];
}
