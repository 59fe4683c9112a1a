import { readFileSync } from 'node:fs';
import * as core from '@actions/core';
import { readFiles } from '../adapters/read-files.ts';
import {
  type PlanCommentValues,
  planCommentInputs,
  readPullRequest,
} from '../config/plan-comment-inputs.ts';
import { readInputs } from '../config/read-inputs.ts';
import { ConfigError } from '../model/errors.ts';
import type { PlanReport } from '../model/plan-report.ts';
import { docsBase } from '../report/doc-links.ts';
import { sanitizeLogLine, stripControls, toOneLine } from '../report/escape.ts';
import { renderPlanComment } from '../report/plan-comment.ts';
import { readPlanReport } from '../report/plan-report.ts';
import { openRepository, runGithubAction } from './github-repository.ts';
import { keepComment } from './pull-comments.ts';

/** More is no plan of a dry run. */
const limits = { files: 1000, bytes: 16 * 1024 * 1024 };

/** Writes what the dry runs of a pull request found into one comment, and into the job summary. */
export const commentOnPlan = (): Promise<void> =>
  runGithubAction('plan-comment', '`pull-requests: write`', async () => {
    const inputs = readInputs(
      planCommentInputs,
      (name) => core.getInput(name, { trimWhitespace: false }),
      new Map(),
    );
    core.setSecret(inputs['github-token']);
    const pull = readPullRequest(readEvent());
    const comment = renderPlanComment(readPlans(inputs), {
      workflow: process.env.GITHUB_WORKFLOW ?? '',
      head: pull?.head ?? process.env.GITHUB_SHA ?? '',
      base: pull?.base ?? process.env.GITHUB_REF_NAME ?? '',
      trial: process.env.GITHUB_SHA ?? '',
      run: `${process.env.GITHUB_SERVER_URL}/${process.env.GITHUB_REPOSITORY}/actions/runs/${process.env.GITHUB_RUN_ID}`,
      hosts: inputs.hosts,
      result: inputs['plan-result'],
      keyPage: `${docsBase(process.env)}docs/how-to/harden.md#a-second-key-that-may-only-look`,
    });
    if ((process.env.GITHUB_STEP_SUMMARY ?? '') !== '') {
      await core.summary.addRaw(`${stripControls(comment.summary)}\n`).write();
    }
    if (pull === null) {
      core.info('this run is not about a pull request: the plan is in the job summary');
      return;
    }
    const github = openRepository(inputs['github-token'].trim());
    const { did, url } = await keepComment(github, pull.number, comment);
    core.info(sanitizeLogLine(did === 'nothing' ? `${url} is up to date` : `${did} ${url}`));
    if (did !== 'nothing') core.setOutput('comment', toOneLine(url));
  });

function readEvent(): string {
  const path = process.env.GITHUB_EVENT_PATH ?? '';
  return path === '' ? '' : readFileSync(path, 'utf8');
}

/** @throws ConfigError when a file is no plan: a comment without it would claim less than it changes */
function readPlans({ plans }: PlanCommentValues): readonly PlanReport[] {
  return readFiles(plans, 'plan.json', limits).map((text) => {
    const report = readPlanReport(text);
    if (report === null) {
      throw new ConfigError(
        'input plans',
        `a plan.json in ${plans} is not a plan of this version`,
        'plans of the same version of Celeriac as plan-comment',
      );
    }
    return report;
  });
}
