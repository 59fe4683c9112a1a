import type { GitInPlace, ReleaseDesired, UploadedReleases } from '../config/release-desired.ts';
import { ConfigError } from '../model/errors.ts';
import type { Finding, InstallDependencies, Operation } from '../model/operation.ts';
import type {
  CheckoutTree,
  CodeOffer,
  CodeTree,
  CommitId,
  CommitLog,
  ReleaseFact,
  ReleasesTree,
} from '../model/release.ts';
import { formatBytes, formatCount } from '../report/quantities.ts';

/** The part of a deploy that is about code, sorted by when it may happen. */
export interface ReleasePlan {
  /** While the old worker serves: nothing that it reads is changed but its environment. */
  readonly prepare: readonly Operation[];
  /** Under the old worker, right before it is stopped: it may import late. */
  readonly inPlace: readonly Operation[];
  /** While nothing runs. */
  readonly swap: readonly Operation[];
  /** After the proof. */
  readonly finish: readonly Operation[];
  /** Which code is imported to try it, and so when. */
  readonly trial: Trial;
  /** Why the worker must be restarted; empty when nothing of this changes. */
  readonly reasons: readonly string[];
  readonly satisfied: readonly string[];
  readonly findings: readonly Finding[];
}

export type Trial =
  /** What is there: before anything is changed. */
  | { readonly when: 'first' }
  /** What is checked out: after that. */
  | { readonly when: 'in-place' }
  /** A release that is not current yet, or new dependencies: once they are prepared. */
  | {
      readonly when: 'prepared';
      readonly instead: { readonly from: string; readonly to: string } | null;
    };

export interface ReleaseContext {
  readonly unit: string;
  /** As `systemctl show` prints it, or what the worker changes to. */
  readonly workingDirectory: string;
  /** The worker's Python, with its leading arguments. */
  readonly interpreter: readonly string[];
}

const untouched: ReleasePlan = {
  prepare: [],
  inPlace: [],
  swap: [],
  finish: [],
  trial: { when: 'first' },
  reasons: [],
  satisfied: [],
  findings: [],
};

/**
 * What brings the code and its dependencies to the commit that is offered.
 *
 * @throws ConfigError when what is on the host does not suit the source, or must not be touched
 */
export function planRelease(
  fact: ReleaseFact | undefined,
  desired: ReleaseDesired | null | undefined,
  offer: CodeOffer | null,
  context: ReleaseContext,
): ReleasePlan {
  if (fact === undefined || desired === null || desired === undefined || offer === null) {
    return untouched;
  }
  return desired.from.source === 'git'
    ? planGit(fact, desired.from, offer, context)
    : planUpload(fact, desired.from, offer, context);
}

/** The commit that a tree is at, where it is at one. */
export function currentCommitOf(tree: CodeTree): CommitId | null {
  switch (tree.kind) {
    case 'checkout':
      return tree.head;
    case 'releases':
      return (
        /(?:^|\/)releases\/([0-9a-f]{40}|[0-9a-f]{64})\/?$/.exec(tree.current ?? '')?.[1] ?? null
      );
    default:
      return null;
  }
}

function planGit(
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
            commit,
            sha256: offer.parcel.sha256,
            title: `take commit ${short(commit)} into ${tree.path}`,
            why: `it is not there; what it lacks is ${formatBytes(offer.parcel.sizeBytes)}`,
          },
        ]
      : [];
  const checkout: Operation[] = moves
    ? [
        {
          op: 'checkout-code',
          ...where,
          commit,
          expects: tree.head,
          dirtyTree: from.dirtyTree,
          title: `check out ${short(commit)} in ${tree.path}${tree.branch === null ? '' : ` on ${tree.branch}`}`,
          why: step,
        },
      ]
    : [];
  return {
    ...untouched,
    prepare: [...fetch, ...dependencies.operations],
    inPlace: checkout,
    trial: moves ? { when: 'in-place' } : trialOf(dependencies),
    reasons: [...(moves ? [`its code goes ${step}`] : []), ...dependencies.reasons],
    satisfied: [
      ...(moves ? [] : [`code: ${tree.path} is at ${short(commit)}`]),
      ...dependencies.satisfied,
    ],
    findings: describeCheckout(tree, offer, moves),
  };
}

function requireCheckout(tree: CodeTree, { unit, workingDirectory }: ReleaseContext): CheckoutTree {
  if (tree.kind === 'checkout') return tree;
  const expected = 'a git checkout that the unit works in, or its path in the input checkout';
  switch (tree.kind) {
    case 'absent':
      throw new ConfigError(
        'input checkout',
        tree.path === '' || tree.path === '/'
          ? `${unit} has no WorkingDirectory=, so its checkout is not known`
          : `${tree.path} is in no git checkout`,
        expected,
      );
    case 'unusable':
      throw new ConfigError('input checkout', tree.problem, expected);
    default:
      throw new ConfigError('input checkout', `${workingDirectory} was not looked at`, expected);
  }
}

function refuseDirty(tree: CheckoutTree, { dirtyTree }: GitInPlace): void {
  if (tree.dirtyCount === 0 || dirtyTree === 'stash') return;
  throw new ConfigError(
    'input dirty-tree',
    `${tree.path} has changes that are in no commit: ${listDirty(tree)}`,
    'a clean checkout: commit or undo them there; or `dirty-tree: stash`',
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
            message: `${tree.path} has changes that are in no commit, and the worker runs with them: ${listDirty(tree)}`,
          },
        ];
  }
  if (log !== null && log.direction !== 'aside') return [];
  return [
    {
      level: 'warning',
      message:
        log === null
          ? `commit ${short(tree.head)} of ${tree.path} is not in this run's clone: it was made on the host, or is further back than the clone goes. It stays in the checkout's reflog`
          : `commit ${short(tree.head)} of ${tree.path} is not part of what is deployed. It stays in the checkout's reflog`,
    },
  ];
}

function planUpload(
  fact: ReleaseFact,
  from: UploadedReleases,
  offer: CodeOffer,
  context: ReleaseContext,
): ReleasePlan {
  const tree = requireReleases(fact.tree, from, context);
  const { commit } = offer;
  const base = tree.path;
  const present = currentCommitOf(tree);
  const moves = present !== commit;
  const release = `${base}/releases/${commit}`;
  const instead = { from: `${base}/current`, to: release };
  const interpreter = context.interpreter.map((word) =>
    word.startsWith(`${instead.from}/`) ? instead.to + word.slice(instead.from.length) : word,
  );
  const dependencies = planDependencies(fact, offer, context, { release }, interpreter);
  const step = moves ? describeStep(present, commit, offer.log) : '';
  const unpack: Operation[] =
    offer.parcel === null
      ? []
      : [
          {
            op: 'unpack-release',
            deployTo: base,
            commit,
            sha256: offer.parcel.sha256,
            shared: from.shared,
            title: `unpack ${short(commit)} to ${release}`,
            why: `it is not there (${formatBytes(offer.parcel.sizeBytes)} packed)`,
          },
        ];
  const swap: Operation[] = moves
    ? [
        {
          op: 'switch-release',
          deployTo: base,
          commit,
          expects: tree.current,
          title: `point ${base}/current at ${short(commit)}`,
          why: step,
        },
      ]
    : [];
  const staying = new Set([...tree.releases, commit]).size;
  const finish: Operation[] =
    moves && staying > from.keepReleases
      ? [
          {
            op: 'prune-releases',
            deployTo: base,
            keep: from.keepReleases,
            spare: present === null ? [commit] : [commit, present],
            title: `remove old releases from ${base}`,
            why: `${staying} are there, ${from.keepReleases} are kept`,
          },
        ]
      : [];
  return {
    prepare: [...unpack, ...dependencies.operations],
    inPlace: [],
    swap,
    finish,
    trial: moves ? { when: 'prepared', instead } : trialOf(dependencies),
    reasons: [...(moves ? [`its code goes ${step}`] : []), ...dependencies.reasons],
    satisfied: [
      ...(moves ? [] : [`code: ${base}/current is at ${short(commit)}`]),
      ...dependencies.satisfied,
    ],
    findings: [],
  };
}

function requireReleases(
  tree: CodeTree,
  { deployTo }: UploadedReleases,
  { unit, workingDirectory }: ReleaseContext,
): ReleasesTree {
  if (tree.kind === 'absent') {
    throw new ConfigError(
      'input deploy-to',
      `the host has no folder ${deployTo}`,
      `a folder that the user of the app owns: \`install -d -o USER ${deployTo}\``,
    );
  }
  if (tree.kind !== 'releases') {
    const problem = tree.kind === 'unusable' ? tree.problem : `${deployTo} was not looked at`;
    throw new ConfigError('input deploy-to', problem, `a link ${deployTo}/current, or none yet`);
  }
  const directory = workingDirectory.replace(/^!/, '').replace(/\/$/, '');
  const current = `${tree.path}/current`;
  if (directory !== current && !directory.startsWith(`${current}/`)) {
    throw new ConfigError(
      'input deploy-to',
      `${unit} works in ${directory === '' ? '/' : directory}, which does not go through ${current}: a new release would not reach it`,
      `WorkingDirectory=${current}, or a folder below it, in ${unit}`,
    );
  }
  return tree;
}

interface Dependencies {
  readonly operations: readonly InstallDependencies[];
  readonly reasons: readonly string[];
  readonly satisfied: readonly string[];
}

const trialOf = ({ operations }: Dependencies): Trial =>
  operations.length > 0 ? { when: 'prepared', instead: null } : { when: 'first' };

function planDependencies(
  { installed }: ReleaseFact,
  { commit, lock }: CodeOffer,
  context: ReleaseContext,
  where: { readonly checkout: string } | { readonly release: string },
  interpreter: readonly string[],
): Dependencies {
  if (lock === null) return { operations: [], reasons: [], satisfied: [] };
  const { file, tool, hash, previousHash, timeoutSeconds } = lock;
  const own =
    installed !== null && installed.interpreter.join('\0') === interpreter.join('\0')
      ? installed.lock
      : null;
  // What was there before Celeriac came is taken to be installed.
  if ((own ?? previousHash) === hash) {
    return { operations: [], reasons: [], satisfied: [`dependencies: ${file} is unchanged`] };
  }
  const why =
    own !== null
      ? 'it is another one than was installed last'
      : previousHash === null
        ? 'what is installed is not known'
        : 'it changed with the code';
  return {
    operations: [
      {
        op: 'install-dependencies',
        unit: context.unit,
        interpreter,
        tool,
        file,
        commit,
        lock: hash,
        timeoutSeconds,
        ...where,
        title: `install ${file} of ${short(commit)} with ${tool}`,
        why,
      },
    ],
    reasons: [`${file} changes`],
    satisfied: [],
  };
}

/** `abc1234 → def5678, 3 commits`. */
function describeStep(from: CommitId | null, to: CommitId, log: CommitLog | null): string {
  const step = `${from === null ? 'none' : short(from)} → ${short(to)}`;
  if (log === null) return step;
  const commits = formatCount(log.count, 'commit');
  switch (log.direction) {
    case 'forward':
      return `${step}, ${commits}`;
    case 'back':
      return `${step}, ${commits} back`;
    case 'aside':
      return `${step}, ${commits} on another line of history`;
  }
}

const short = (commit: CommitId): string => commit.slice(0, 7);
