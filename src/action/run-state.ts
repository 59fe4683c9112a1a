import * as core from '@actions/core';
import type { HostValues } from '../config/host-inputs.ts';
import type { EpochSeconds } from '../model/units.ts';

/*
 * What an action leaves for its post step, which runs also after the action was cancelled or killed.
 * Nothing secret: a runner with debug logging prints it.
 */

/** `tools/post-step.ts` reads these, too. */
const names = {
  run: 'run',
  transactions: 'transactions',
  ended: 'ended',
  untold: 'untold',
} as const;

/**
 * Where the run was at work, and with what. Not read from the inputs again: within composite actions a
 * runner may give a post step those of another level (actions/runner#2030). Only secrets are: the key
 * and the webhook.
 */
export interface SavedRun
  extends Pick<HostValues, 'host' | 'port' | 'user' | 'agent' | 'known-hosts' | 'proxy-jump'> {
  /** `null`: it is about no worker. */
  readonly unit: string | null;
  /** By the clock of the runner. */
  readonly began: EpochSeconds;
}

/** The run knows its host, and may begin to change it. */
export function saveRun(host: HostValues, unit: string | null, began: EpochSeconds): void {
  const run: SavedRun = {
    host: host.host,
    port: host.port,
    user: host.user,
    agent: host.agent,
    'known-hosts': host['known-hosts'],
    'proxy-jump': host['proxy-jump'],
    unit,
    began,
  };
  core.saveState(names.run, run);
}

/** All that the host has begun for this run so far. */
export function saveTransactions(transactions: readonly string[]): void {
  core.saveState(names.transactions, transactions);
}

/**
 * The run has said itself how it ended.
 *
 * @param untold what the webhook has yet to be told of it; `null`: nothing
 */
export function saveEnd(untold: string | null): void {
  core.saveState(names.ended, 'true');
  // The last one counts.
  core.saveState(names.untold, untold ?? '');
}

/** What the webhook has yet to be told of a run that ended; `null`: nothing. */
export const savedMessage = (): string | null => core.getState(names.untold) || null;

/** What a run that was cut off has left, with the transactions that it saw begin. */
export type CutOffRun = SavedRun & { readonly transactions: readonly string[] };

/** @returns `null`: the run has ended, or had not come that far */
export function savedRun(): CutOffRun | null {
  const run = core.getState(names.run);
  if (run === '' || core.getState(names.ended) !== '') return null;
  const transactions = core.getState(names.transactions) || '[]';
  return { ...JSON.parse(run), transactions: JSON.parse(transactions) };
}
