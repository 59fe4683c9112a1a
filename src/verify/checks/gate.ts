import type { JobReport } from '../../model/outcome.ts';
import type { Check } from '../../model/verdict.ts';
import { formatCount, formatDuration } from '../../report/quantities.ts';
import { checkOf, fine, skippedCheck, wrong } from '../check.ts';
import type { GateRequest, GateResult, GateRun } from '../evidence.ts';

/** One check for the single probe, one for the batch. */
export function checkGate(gate: GateResult): readonly Check[] {
  switch (gate.kind) {
    case 'none':
      return [skippedCheck('gate', 'gate', 'the gate is `none`: no probe was sent')];
    case 'not-sent':
      return gate.requests.map((request) =>
        skippedCheck(request.id, titleOf(request), `${gate.why}: ${request.title}`),
      );
    case 'sent':
      return gate.runs.map(checkRun);
  }
}

function checkRun({ request, result }: GateRun): Check {
  const title = titleOf(request);
  switch (result.kind) {
    case 'report':
      return checkReport(request, result.report);
    case 'fault': {
      const remark = wrong(`not sent: ${result.problem}`, request.title, result.next);
      return checkOf(request.id, title, [remark], result.evidence);
    }
    case 'not-sent':
      return skippedCheck(request.id, title, 'not sent: the previous probe failed');
  }
}

function checkReport(request: GateRequest, report: JobReport): Check {
  const title = titleOf(request);
  const done = report.jobs.filter(({ state }) => state === 'done').length;
  const slowest = Math.max(0, ...report.jobs.map((job) => job.seconds));
  const jobs = report.jobs.map(
    ({ id, where, state, detail, seconds }) =>
      `${where}: ${state} in ${formatDuration(seconds)} (${id})${detail === '' ? '' : `: ${detail}`}`,
  );
  const evidence = [...jobs, ...(report.evidence ?? [])];
  if (report.ok) {
    const seen = `${request.title}: done in ${formatDuration(slowest)}`;
    return checkOf(request.id, title, [fine(seen)], evidence);
  }
  const missing = report.jobs.some(({ state }) => state === 'timed-out');
  const limit = formatDuration(request.request.timeoutSeconds);
  const counted = `${done} of ${formatCount(report.jobs.length, 'probe')} done`;
  const seen =
    report.problem === null
      ? counted
      : `${report.problem}${report.jobs.length === 0 ? '' : ` (${counted})`}`;
  const next = missing ? adviceForMissing(request) : "check the evidence and the worker's journal";
  return checkOf(
    request.id,
    title,
    [wrong(seen, `${request.title}, done within ${limit}`, next)],
    evidence,
  );
}

function adviceForMissing({ request }: GateRequest): string {
  const consumes =
    'check that the worker consumes these queues and that no long task is ahead of the probe';
  return request.kind === 'canary'
    ? `${consumes}; canaries also need the support module, which deploy-worker adds to the worker`
    : consumes;
}

const titleOf = (request: GateRequest): string =>
  request.id === 'gate-job' ? 'gate: single probe' : 'gate: batch of probes';
