import type { Plan } from '../model/operation.ts';
import type { FailureView } from './failure.ts';

const page = /\bdocs\/reference\/[\w./-]+\.md\b/g;

/**
 * The plan with its pages as addresses: whoever reads a run has no checkout of this repository.
 *
 * @param base what precedes `docs/`, such as `https://github.com/owner/celeriac/blob/<commit>/`; `''`:
 *   unknown, and the paths stay
 */
export function linkPages(plan: Plan, base: string): Plan {
  if (base === '') return plan;
  const findings = plan.findings.map((finding) => ({
    ...finding,
    message: linkText(finding.message, base),
  }));
  return { ...plan, findings };
}

/** The same for a failure: a refusal names the page of its rule, too. */
export function linkFailure(view: FailureView, base: string): FailureView {
  if (base === '') return view;
  const { message, annotation } = view;
  return {
    message: linkText(message, base),
    annotation: { ...annotation, message: linkText(annotation.message, base) },
  };
}

const linkText = (text: string, base: string): string => text.replace(page, (path) => base + path);

/** Where the files of the action that runs can be read; `''`: unknown. */
export function docsBase(env: Readonly<Record<string, string | undefined>>): string {
  const { GITHUB_SERVER_URL: server, GITHUB_ACTION_REPOSITORY: action } = env;
  // An action of the repository itself (`uses: ./…`) has no repository of its own.
  const [repository, ref] = action
    ? [action, env.GITHUB_ACTION_REF]
    : [env.GITHUB_REPOSITORY, env.GITHUB_SHA];
  // A clone of a folder has a path there.
  const isNamed = /^[\w.-]+\/[\w.-]+$/.test(repository ?? '');
  return server && isNamed && ref ? `${server}/${repository}/blob/${ref}/` : '';
}
