import type { z } from 'zod';
import type { FactAnswers, FactName } from '../../model/facts.ts';
import { hardeningShape } from './hardening-facts.ts';
import {
  filesShape,
  hostShape,
  pressureShape,
  roomShape,
  settingsShape,
  swapShape,
  sysctlShape,
} from './host-facts.ts';
import {
  environmentShape,
  pastShape,
  releaseShape,
  releasesShape,
  transactionsShape,
  undoingShape,
} from './release-facts.ts';
import { samplesShape, samplingShape } from './sample-shape.ts';
import {
  backupShape,
  brokerShape,
  consumingShape,
  rehearsalShape,
  resetsShape,
  storesShape,
  tasksShape,
  unackedShape,
} from './store-facts.ts';
import {
  beatsShape,
  codeShape,
  commandShape,
  companionsShape,
  httpShape,
  journalShape,
  kernelShape,
  limitsShape,
  loggedShape,
  unitShape,
  workersShape,
} from './unit-facts.ts';

/** The protocol's shape of each fact. */
export const factShapes: { readonly [Name in FactName]: z.ZodType<FactAnswers[Name]> } = {
  host: hostShape,
  files: filesShape,
  swap: swapShape,
  sysctl: sysctlShape,
  settings: settingsShape,
  room: roomShape,
  pressure: pressureShape,
  unit: unitShape,
  workers: workersShape,
  code: codeShape,
  journal: journalShape,
  logged: loggedShape,
  kernel: kernelShape,
  limits: limitsShape,
  command: commandShape,
  http: httpShape,
  stores: storesShape,
  tasks: tasksShape,
  consuming: consumingShape,
  broker: brokerShape,
  beats: beatsShape,
  unacked: unackedShape,
  resets: resetsShape,
  backup: backupShape,
  rehearsal: rehearsalShape,
  past: pastShape,
  transactions: transactionsShape,
  undoing: undoingShape,
  releases: releasesShape,
  release: releaseShape,
  environment: environmentShape,
  companions: companionsShape,
  hardening: hardeningShape,
  samples: samplesShape,
  sampling: samplingShape,
};
