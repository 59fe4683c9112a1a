import type {
  CheckoutCode,
  FetchCommit,
  InstallDependencies,
  PruneReleases,
  RunCommand,
  SwitchRelease,
  UnpackRelease,
} from './operation/code.ts';
import type { GuardCompanion, RestartCompanion } from './operation/companion.ts';
import type {
  CreateUser,
  InstallAgent,
  InstallSudoers,
  ProveAgent,
  RemoveFolder,
  RemoveUser,
} from './operation/hardening.ts';
import type {
  MakeSwap,
  RemoveFile,
  SetMode,
  SetSysctl,
  SwapOff,
  SwapOn,
  WriteFile,
} from './operation/host.ts';
import type { BackupDatabase, RepairJobs, RestoreDatabase, SendTasks } from './operation/jobs.ts';
import type {
  DrainWorker,
  EnableUnit,
  EndProcess,
  FindUnacked,
  GuardUnit,
  InstallUnit,
  ProveUnit,
  RestoreUnacked,
  StartSampler,
  StartUnit,
  StopSampler,
  StopUnit,
  TryApp,
  VerifyUnit,
} from './operation/worker.ts';

/**
 * Everything that Celeriac can change on a host. Each operation is data here, and one small file of
 * the agent (`host/celeriac_host/operations/<op_with_underscores>.py`) with `check`, `do`, `undo`.
 */
export type Operation =
  | WriteFile
  | RemoveFile
  | SetMode
  | MakeSwap
  | SwapOn
  | SwapOff
  | SetSysctl
  | TryApp
  | VerifyUnit
  | GuardUnit
  | GuardCompanion
  | RestartCompanion
  | RunCommand
  | InstallUnit
  | EnableUnit
  | StartSampler
  | StopSampler
  | DrainWorker
  | StopUnit
  | RestoreUnacked
  | FindUnacked
  | EndProcess
  | StartUnit
  | ProveUnit
  | FetchCommit
  | CheckoutCode
  | UnpackRelease
  | SwitchRelease
  | PruneReleases
  | InstallDependencies
  | BackupDatabase
  | RepairJobs
  | SendTasks
  | RestoreDatabase
  | CreateUser
  | RemoveUser
  | RemoveFolder
  | InstallAgent
  | InstallSudoers
  | ProveAgent;

/** An ordered list of operations; empty if the host is as desired. */
export interface Plan {
  readonly operations: readonly Operation[];
  /** What is already as desired, e.g. `swap: 2 GiB at /swapfile`. */
  readonly satisfied: readonly string[];
  /** What people should know and the plan does not change. */
  readonly findings: readonly Finding[];
  /** Rows that look stuck, and that the plan skips. */
  readonly skippedRows?: number;
  /** What is not as desired and cannot be changed on this host: `swap`; findings say why. */
  readonly unmet?: readonly string[];
}

export interface Finding {
  readonly level: 'notice' | 'warning';
  readonly message: string;
  /** File and line on the host, if there is one. */
  readonly where?: string;
  /** The title of a fault that a person has accepted: not told again while nothing changes about it. */
  readonly accepted?: string;
  /** A lasting state of the host: later runs fold it away while nothing changes about it. */
  readonly lasting?: true;
}
