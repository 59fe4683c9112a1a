import * as core from '@actions/core';
import { getOctokit } from '@actions/github';
import { ConfigError } from '../model/errors.ts';
import { sanitizeLogLine, toOneLine } from '../report/escape.ts';
import { renderFailure } from '../report/failure.ts';

/** GitHub's API, for the repository that the run belongs to. */
export interface GithubRepository {
  readonly rest: ReturnType<typeof getOctokit>['rest'];
  readonly graphql: ReturnType<typeof getOctokit>['graphql'];
  readonly at: { readonly owner: string; readonly repo: string };
}

/**
 * @param token of the run
 * @param address of the API, and the repository; those of the run if not given
 */
export function openRepository(
  token: string,
  address?: { readonly url: string; readonly repository: string },
): GithubRepository {
  const name = address?.repository ?? process.env.GITHUB_REPOSITORY ?? '';
  const [owner = '', repo = ''] = name.split('/');
  const { rest, graphql } = getOctokit(token, address && { baseUrl: address.url });
  return { rest, graphql, at: { owner, repo } };
}

/**
 * Runs an action that knows no host, only GitHub: every failure becomes one message, one annotation
 * and exit code 1, without the request, which carries the token.
 *
 * @param needs what a job needs that GitHub refuses
 */
export async function runGithubAction(
  action: string,
  needs: string,
  body: () => Promise<void>,
): Promise<void> {
  try {
    await body();
  } catch (error) {
    const shown = error instanceof ConfigError ? error : new Error(describe(error, needs));
    const { message, annotation } = renderFailure(shown, { action });
    core.info(sanitizeLogLine(message));
    core.error(annotation.message, { title: annotation.title });
    process.exitCode = 1;
  }
}

function describe(error: unknown, needs: string): string {
  const { status, message, errors } = error as {
    readonly status?: unknown;
    readonly message?: unknown;
    readonly errors?: unknown;
  };
  const text = toOneLine(typeof message === 'string' ? message : String(error));
  if (status === 403 || status === 404) {
    return `GitHub refused with status ${status}: ${text}; the job needs ${needs}`;
  }
  // GraphQL refuses with status 200.
  if (Array.isArray(errors) && errors.some(({ type }) => type === 'FORBIDDEN')) {
    return `GitHub refused: ${text}; the job needs ${needs}`;
  }
  return typeof status === 'number' ? `GitHub answered with status ${status}: ${text}` : text;
}
