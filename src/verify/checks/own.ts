import type { HttpAnswer } from '../../model/facts/probe.ts';
import type { OwnCheck, OwnCommand, OwnUrl } from '../../model/own-check.ts';
import { formatDuration } from '../../model/quantities.ts';
import type { Check } from '../../model/verdict.ts';
import { showUrl } from '../../systemd/secrets.ts';
import { type CheckModule, checkOf, fine, lastLines, unknownCheck, wrong } from '../check.ts';
import { latest, type OwnCommandResult } from '../evidence.ts';
import { shownTail } from '../unit-values.ts';

/** One check for each that the user has written. */
export const own: CheckModule = {
  id: 'own',
  title: 'checks of your own',
  proves:
    'Each command and URL of the input `checks` gave the expected answer. If one could not be run, the verdict is inconclusive.',
  doesNotProve: 'More than the command or URL itself shows.',
  judge(seen, desired) {
    const { http } = latest(seen);
    const answers = http.slice(desired.probes.length);
    const urls = ownUrls(desired.ownChecks);
    return desired.ownChecks.map((check) =>
      check.kind === 'command'
        ? judgeCommand(check, seen.ownCommands.get(check.name))
        : judgeUrl(check, answers[urls.indexOf(check)]),
    );
  },
};

/** Those that are requested together with the HTTP probes, after them. */
export const ownUrls = (checks: readonly OwnCheck[]): readonly OwnUrl[] =>
  checks.filter((check) => check.kind === 'url');

export const ownCommands = (checks: readonly OwnCheck[]): readonly OwnCommand[] =>
  checks.filter((check) => check.kind === 'command');

function judgeCommand(check: OwnCommand, result: OwnCommandResult | undefined): Check {
  const named = { id: own.id, title: check.name };
  const said = `\`${check.argv.join(' ')}\``;
  if (result === undefined || result.kind === 'not-run') {
    return unknownCheck(named, `not run: ${result?.why ?? 'it was not reached'}`);
  }
  const { fact } = result;
  const { output } = fact;
  const lines = output.split('\n').filter((line) => line.trim() !== '');
  const evidence = lastLines(lines, shownTail);
  const next = `check why ${said} gives this answer, or correct \`checks\``;
  const expected = `exit code ${check.exitCode}`;
  if (fact.kind === 'failed') {
    return checkOf(named, [wrong(fact.problem, expected, next)], evidence);
  }
  if (fact.kind === 'timed-out') {
    const within = formatDuration(check.timeoutSeconds);
    return checkOf(named, [wrong(`not finished within ${within}`, expected, next)], evidence);
  }
  const { code, seconds } = fact;
  const how = code < 0 ? `ended by signal ${-code}` : `exit code ${code}`;
  const seen = `${how} in ${formatDuration(seconds)}`;
  if (code !== check.exitCode) return checkOf(named, [wrong(seen, expected, next)], evidence);
  return judgeText(named, check, seen, output, evidence, next);
}

function judgeUrl(check: OwnUrl, answer: HttpAnswer | undefined): Check {
  const named = { id: own.id, title: check.name };
  const said = `GET ${showUrl(check.url)}`;
  const expected = check.status === null ? 'a status of 200 to 299' : `status ${check.status}`;
  const next = `check why ${said} gives this answer, or correct \`checks\``;
  if (answer?.kind !== 'answered') {
    const why = answer?.error ?? 'no request was made';
    return checkOf(named, [wrong(`no answer: ${why}`, expected, next)]);
  }
  const { status, body } = answer;
  const seen = `status ${status} in ${formatDuration(answer.seconds)}`;
  const lines = body.split('\n').filter((line) => line.trim() !== '');
  const isGood = check.status === null ? status >= 200 && status <= 299 : status === check.status;
  if (!isGood) return checkOf(named, [wrong(seen, expected, next)], lines);
  return judgeText(named, check, seen, body, lines, next);
}

function judgeText(
  named: { readonly id: string; readonly title: string },
  { contains }: OwnCheck,
  seen: string,
  text: string,
  evidence: readonly string[],
  next: string,
): Check {
  if (contains === null || text.includes(contains)) return checkOf(named, [fine(seen)]);
  const found = `${seen}, without the text`;
  return checkOf(named, [wrong(found, `an answer that contains ${contains}`, next)], evidence);
}
