import type { UploadedReleases } from '../../config/release-desired.ts';
import { ConfigError } from '../../model/errors.ts';
import type { Operation } from '../../model/operation.ts';
import { formatBytes } from '../../model/quantities.ts';
import type { CodeOffer, CodeTree, ReleaseFact, ReleasesTree } from '../../model/release.ts';
import { currentCommitOf, describeStep, short } from './commits.ts';
import { planDependencies } from './dependencies.ts';
import { type ReleaseContext, type ReleasePlan, untouched } from './release-plan.ts';

export function planUpload(
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
            user: context.user,
            deployTo: base,
            commit,
            sha256: offer.parcel.sha256,
            shared: from.shared,
            title: `unpack ${short(commit)} to ${release}`,
            why: `it does not exist yet (${formatBytes(offer.parcel.sizeBytes)} to transfer)`,
          },
        ];
  const swap: Operation[] = moves
    ? [
        {
          op: 'switch-release',
          user: context.user,
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
            user: context.user,
            deployTo: base,
            keep: from.keepReleases,
            spare: present === null ? [commit] : [commit, present],
            title: `remove old code folders from ${base}`,
            why: `there are ${staying}, and ${from.keepReleases} are kept`,
          },
        ]
      : [];
  return {
    prepare: [...unpack, ...dependencies.operations],
    inPlace: [],
    swap,
    finish,
    trial: moves ? { when: 'prepared', instead } : untouched.trial,
    reasons: [...(moves ? [`its code changes ${step}`] : []), ...dependencies.reasons],
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
  { unit, user, workingDirectory }: ReleaseContext,
): ReleasesTree {
  if (tree.kind === 'absent') {
    throw new ConfigError(
      'input deploy-to',
      `folder ${deployTo} does not exist on the host`,
      `a folder that the app's user owns: \`sudo install -d -o ${user} ${deployTo}\``,
    );
  }
  if (tree.kind === 'not-own') throw new ConfigError('input deploy-to', tree.problem, tree.fix);
  if (tree.kind !== 'releases') {
    const problem = tree.kind === 'unusable' ? tree.problem : `${deployTo} was not inspected`;
    throw new ConfigError('input deploy-to', problem, `a link ${deployTo}/current, or none yet`);
  }
  const directory = workingDirectory.replace(/^!/, '').replace(/\/$/, '');
  const current = `${tree.path}/current`;
  if (directory !== current && !directory.startsWith(`${current}/`)) {
    throw new ConfigError(
      'input deploy-to',
      `${unit} works in ${directory === '' ? '/' : directory}, which does not go through ${current}, so a new release would have no effect`,
      `WorkingDirectory=${current}, or a folder below it, in ${unit}`,
    );
  }
  return tree;
}
