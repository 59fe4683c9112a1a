import { afterAll, expect, vi } from 'vitest';

/**
 * The files of the unit tests share processes and modules, so that each need not load them again. A
 * file that leaves a process otherwise than it found it fails here, instead of another one later.
 */
const variables = { ...process.env };
/** Their names only: a value may be secret. */
const changedVariables = () =>
  Object.keys({ ...variables, ...process.env }).filter(
    (name) => variables[name] !== process.env[name],
  );

const look = () => ({
  changedVariables: changedVariables(),
  folder: process.cwd(),
  exitCode: process.exitCode,
  isTTY: process.stdout.isTTY,
  hasFakeTimers: vi.isFakeTimers(),
  spies: [
    process.stdout.write,
    process.stderr.write,
    process.emitWarning,
    process.exit,
    ...[console.log, console.info, console.warn, console.error],
    ...[globalThis.fetch, globalThis.setTimeout, Date.now],
  ].filter((each) => vi.isMockFunction(each)).length,
});

const found = look();
// The first hook runs last, after those of the file.
afterAll(() => expect(look()).toEqual(found));
