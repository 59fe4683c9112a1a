import * as core from '@actions/core';
import { readInputs } from '../config/read-inputs.ts';
import { soakIssueInputs } from '../config/soak-issue-inputs.ts';
import { sanitizeLogLine, toOneLine } from '../report/escape.ts';
import { openedBody, type SoakIssue, soakIssueOf, updatedBody } from '../report/soak-issue.ts';
import { type GithubRepository, openRepository, runGithubAction } from './github-repository.ts';

/** Issues of one page, and the most pages that are searched for the one about a release. */
const perPage = 100;
const mostPages = 20;
/** The runner's clock and GitHub's may differ. */
const searchMarginSeconds = 86_400;

/** An issue as GitHub lists it. */
interface FoundIssue {
  readonly number: number;
  readonly url: string;
  readonly title: string;
  readonly body: string;
}

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
  readonly #at: GithubRepository['at'];

  constructor({ rest, at }: GithubRepository) {
    this.#rest = rest;
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
      core.info(sanitizeLogLine(`${found.url} says it already`));
      return;
    }
    const { number: issue_number } = found;
    await this.#rest.issues.update({ ...this.#at, issue_number, title: issue.title, body });
    this.#tell('updated', found.url);
  }

  /** The oldest, if two runs opened one at the same time. Closed ones, too: somebody has seen it. */
  async #find(marker: string, since: number): Promise<FoundIssue | null> {
    for (let page = 1; page <= mostPages; page += 1) {
      const { data } = await this.#rest.issues.listForRepo({
        ...this.#at,
        state: 'all',
        since: new Date(since * 1000).toISOString(),
        sort: 'created',
        direction: 'asc',
        per_page: perPage,
        page,
      });
      for (const { number, html_url: url, title, body, pull_request: change } of data) {
        if (change === undefined && body?.startsWith(marker)) return { number, url, title, body };
      }
      if (data.length < perPage) return null;
    }
    throw new Error(`searched ${mostPages * perPage} issues; opened none, to open no second one`);
  }

  #tell(what: string, url: string): void {
    core.info(sanitizeLogLine(`${what} ${url}`));
    core.setOutput('issue', toOneLine(url));
  }
}
