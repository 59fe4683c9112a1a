import * as core from '@actions/core';
import { readInputs } from '../config/read-inputs.ts';
import { soakIssueInputs } from '../config/soak-issue-inputs.ts';
import { sanitizeLogLine, toOneLine } from '../report/escape.ts';
import { openedBody, type SoakIssue, soakIssueOf, updatedBody } from '../report/soak-issue.ts';
import { type GithubRepository, openRepository, runGithubAction } from './github-repository.ts';
import { findOwn, type PageOfPosts, type Post, postFields } from './own-posts.ts';

/** The runner's clock and GitHub's may differ. */
const searchMarginSeconds = 86_400;

/** An issue as GitHub lists it. */
interface ListedIssue extends Post {
  readonly number: number;
  readonly url: string;
  readonly title: string;
}

/** One page of the issues of a repository. */
interface IssuePage {
  readonly viewer: { readonly login: string };
  readonly repository: { readonly issues: Omit<PageOfPosts<ListedIssue>, 'viewer'> } | null;
}

/** Open and closed ones, without pull requests. */
const pageQuery = `
  query ($owner: String!, $repo: String!, $since: DateTime!, $first: Int!, $after: String) {
    viewer { login }
    repository(owner: $owner, name: $repo) {
      issues(
        first: $first, after: $after, filterBy: { since: $since }
        orderBy: { field: CREATED_AT, direction: ASC }
      ) {
        nodes { number url title ${postFields} }
        pageInfo { hasNextPage endCursor }
      }
    }
  }
`;

/** Opens an issue about a release that failed its soak, or updates the one that there is. */
export const reportSoakIssue = (): Promise<void> =>
  runGithubAction('soak-issue', '`issues: write`, and the repository issues', async () => {
    const inputs = readInputs(
      soakIssueInputs,
      (name) => core.getInput(name, { trimWhitespace: false }),
      new Map(),
    );
    core.setSecret(inputs['github-token']);
    const { report } = inputs['soak-report'];
    const issue = report === null ? null : soakIssueOf(report);
    if (issue === null || report === null) {
      core.info('no release failed: nothing to report');
      return;
    }
    const since = (report.release?.since ?? 0) - searchMarginSeconds;
    await new Issues(openRepository(inputs['github-token'].trim())).publish(issue, since);
  });

/** The issues of the repository that the run belongs to. */
class Issues {
  readonly #rest: GithubRepository['rest'];
  readonly #graphql: GithubRepository['graphql'];
  readonly #at: GithubRepository['at'];

  constructor({ rest, graphql, at }: GithubRepository) {
    this.#rest = rest;
    this.#graphql = graphql;
    this.#at = at;
  }

  async publish(issue: SoakIssue, since: number): Promise<void> {
    const found = await this.#find(issue.marker, since);
    if (found === null) {
      const { title } = issue;
      const opened = await this.#rest.issues.create({
        ...this.#at,
        title,
        body: openedBody(issue),
      });
      this.#tell('opened', opened.data.html_url);
      return;
    }
    const body = updatedBody(issue, found.body);
    if (body === found.body && issue.title === found.title) {
      core.info(sanitizeLogLine(`${found.url} is up to date`));
      return;
    }
    const { number: issue_number } = found;
    await this.#rest.issues.update({ ...this.#at, issue_number, title: issue.title, body });
    this.#tell('updated', found.url);
  }

  /** The oldest, if two runs opened one at the same time. Closed ones, too: somebody has seen it. */
  #find(marker: string, since: number): Promise<ListedIssue | null> {
    return findOwn('issues', marker, async (page) => {
      const found = await this.#graphql<IssuePage>(pageQuery, {
        ...this.#at,
        since: new Date(since * 1000).toISOString(),
        ...page,
      });
      const { issues } = found.repository ?? {};
      if (issues === undefined) throw new Error('the token cannot read the repository');
      return { ...issues, viewer: found.viewer.login };
    });
  }

  #tell(what: string, url: string): void {
    core.info(sanitizeLogLine(`${what} ${url}`));
    core.setOutput('issue', toOneLine(url));
  }
}
