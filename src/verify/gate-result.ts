import type { JobReport } from '../model/outcome.ts';
import { formatCount, formatDuration } from '../model/quantities.ts';
import type { Check } from '../model/verdict.ts';
import { describeOpen } from '../report/probe-progress.ts';
import { type CheckName, checkOf, fine, unknownCheck, wrong } from './check.ts';
import type { GateRequest, GateResult, GateRun } from './evidence.ts';

/** Lines of the journal that are shown after a probe that did not come back. */
const journalLines = 15;

/**
 * The check of the request of the gate that has its name; none if there is no such request. `tail`:
 * the last lines of the worker's journal.
 */
export function judgeRequests(
  gate: GateResult,
  name: CheckName,
  tail: readonly string[],
): readonly Check[] {
  switch (gate.kind) {
    case 'none':
      return [];
    case 'not-sent':
      return gate.requests
        .filter(({ id }) => id === name.id)
        .map((request) => unknownCheck(name, `${gate.why}: ${request.title}`));
    case 'sent':
      return gate.runs
        .filter(({ request }) => request.id === name.id)
        .map((run) => checkRun(run, name, tail));
  }
}

function checkRun({ request, result }: GateRun, name: CheckName, tail: readonly string[]): Check {
  switch (result.kind) {
    case 'report':
      return checkReport(request, result.report, name, tail);
    case 'fault': {
      const remark = wrong(`not sent: ${result.problem}`, request.title, result.next);
      return checkOf(name, [remark], result.evidence);
    }
    case 'not-sent':
      return unknownCheck(name, 'not sent: the previous probe failed');
  }
}

function checkReport(
  request: GateRequest,
  report: JobReport,
  name: CheckName,
  tail: readonly string[],
): Check {
  const done = report.jobs.filter(({ state }) => state === 'done').length;
  const slowest = Math.max(0, ...report.jobs.map((job) => job.seconds));
  const jobs = report.jobs.map(
    ({ id, where, state, detail, seconds }) =>
      `${where}: ${state} in ${formatDuration(seconds)} (${id})${detail === '' ? '' : `: ${detail}`}`,
  );
  const evidence = [...jobs, ...(report.evidence ?? [])];
  if (report.ok) {
    const seen = `${request.title}: done in ${formatDuration(slowest)}`;
    return checkOf(name, [fine(seen)], evidence);
  }
  const missing = report.jobs.some(({ state }) => state === 'timed-out');
  const lines =
    missing && tail.length > 0
      ? ['last lines of the journal:', ...tail.slice(-journalLines).map((line) => `  ${line}`)]
      : [];
  const limit = formatDuration(request.request.timeoutSeconds);
  const counted = `${done} of ${formatCount(report.jobs.length, 'probe')} done`;
  const seen =
    report.problem === null
      ? counted
      : `${report.problem}${report.jobs.length === 0 ? '' : ` (${counted})`}`;
  const next = missing ? adviceForMissing(request) : "check the evidence and the worker's journal";
  const remark = wrong(
    `${seen}${standing(report)}`,
    `${request.title}, done within ${limit}`,
    next,
  );
  return checkOf(name, [remark], [...evidence, ...lines]);
}

/** Where those are that did not come back; empty: not known. */
function standing({ jobs }: JobReport): string {
  const found = jobs.flatMap(({ place, where }) =>
    place === undefined || ['unknown', 'failed'].includes(place)
      ? []
      : [{ where, place, detail: '' }],
  );
  return describeOpen(found)
    .map((each) => `; ${each}`)
    .join('');
}

function adviceForMissing({ request }: GateRequest): string {
  const consumes =
    'check that the worker consumes these queues and that no long task is ahead of the probe';
  return request.kind === 'canary'
    ? `${consumes}; canaries also need the support module, which deploy-worker adds to the worker`
    : consumes;
}
