import type { PastFact } from '../model/facts/ledger.ts';
import type { Finding } from '../model/operation.ts';
import type { ToldNotices } from '../model/outcome.ts';
import { formatCount } from '../model/quantities.ts';
import { toOneLine } from './escape.ts';

/** Findings by whether an earlier run told them already. */
export interface Sorted {
  readonly news: readonly Finding[];
  /** Lasting ones that the last run about the same thing told as well. */
  readonly asBefore: readonly Finding[];
  /** What to record for the next run; `null`: nothing changed. */
  readonly told: ToldNotices | null;
}

/**
 * Separates the lasting findings that the last run told as well: they are folded away. Any change of
 * the text makes a finding new.
 *
 * @param about of which thing, and in which part of the run: `deploy-worker of celery-worker.service`
 * @param notices what earlier runs told
 */
export function sortFindings(
  findings: readonly Finding[],
  about: string,
  notices: PastFact['notices'],
): Sorted {
  const before = notices[about] ?? [];
  const lasting = findings.filter((finding) => finding.lasting === true);
  const messages = [...new Set(lasting.map(lineOf))];
  const asBefore = lasting.filter((finding) => before.includes(lineOf(finding)));
  const isSame = messages.length === before.length && asBefore.length === lasting.length;
  return {
    news: findings.filter((finding) => !asBefore.includes(finding)),
    asBefore,
    told: isSame ? null : { about, messages },
  };
}

/** `3 findings as before`: the title of what is folded away. */
export const titleAsBefore = (findings: readonly Finding[]): string =>
  `${formatCount(findings.length, 'finding')} as before`;

/** A finding on one line: `warning: this host is a container (lxc)`. */
export function lineOf({ level, message, where }: Finding): string {
  const line = `${level}: ${toOneLine(message)}`;
  return (where === undefined ? line : `${line} (${toOneLine(where)})`).slice(0, longest);
}

/** As the host keeps them. */
const longest = 2000;
