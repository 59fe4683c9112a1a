import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, writeFileSync } from 'node:fs';
import { afterEach, expect, test } from 'vitest';
import { QEMU } from '../../sandbox/accelerator.ts';
import {
  endInstance,
  instancePaths,
  makeInstanceFolder,
  removeInstance,
} from '../../sandbox/instance.ts';

const paths = instancePaths('killed-owner');
const started: ChildProcess[] = [];

afterEach(async () => {
  for (const child of started.splice(0)) child.kill('SIGKILL');
  await removeInstance('killed-owner');
});

async function start(program: string, ...words: readonly string[]): Promise<ChildProcess> {
  const child = spawn(program, words, { stdio: 'ignore' });
  started.push(child);
  await once(child, 'spawn');
  return child;
}

test('a machine whose starter was killed at once leaves nothing to the next of its name', {
  timeout: 90_000,
}, async () => {
  makeInstanceFolder(paths.folder);
  // It has neither a record nor a pid file: it is about to write one.
  const qemu = await start(
    QEMU,
    ...['-machine', 'none', '-nodefaults', '-no-user-config', '-display', 'none', '-S'],
    ...['-qmp', `unix:${paths.monitor},server=on,wait=off`],
  );
  const ended = once(qemu, 'exit');
  // Another program may speak of the same socket.
  const bystander = await start('tail', '-f', '/dev/null', paths.monitor);
  // What one that is almost gone still holds a lock on.
  writeFileSync(paths.pid, '');

  await endInstance('killed-owner');
  expect(await ended).toEqual([null, 'SIGKILL']);
  expect(existsSync(paths.pid)).toBe(false);
  expect(bystander.exitCode ?? bystander.signalCode).toBeNull();
});
