import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { sleep } from './command.ts';
import { messageOf, SandboxError } from './failure.ts';
import { digest, SANDBOX_FOLDER, socketFolder } from './folders.ts';
import { type Image, type Say, writeKnownHosts } from './image.ts';
import { lastWords, launchContainer, waitUntilSettled } from './nspawn.ts';
import { asRoot } from './privilege.ts';
import { provideSaved } from './saved.ts';
import { closeShared, runOver, type Target } from './ssh.ts';
import { readState, runScript } from './states.ts';

/**
 * What a container's disk is made of, the top layer first: what the state's script has written on a
 * host, then the image. From the cache, else made in a few seconds.
 *
 * @throws SandboxError when the host does not come up, or the state is unknown.
 */
export async function provideLayers(
  image: Image,
  state: string | undefined,
  say: Say,
): Promise<readonly string[]> {
  if (state === undefined) return [image.root];
  const script = readState(state);
  const code = ['container.sh', 'layer.ts', 'nspawn.ts'].map((file) =>
    readFileSync(join(SANDBOX_FOLDER, file)),
  );
  const saved = {
    parent: join(image.folder, 'layers'),
    label: state,
    key: digest(script, ...code).slice(0, 12),
  };
  const folder = await provideSaved(saved, say, (work) => makeLayer(work, image, state, script));
  return [join(folder, 'upper'), image.root];
}

/** Breaks a host into the state, ends it in good order, and keeps what it has written. */
async function makeLayer(work: string, image: Image, state: string, script: string): Promise<void> {
  const folder = join(work, 'container');
  const sockets = socketFolder(work);
  try {
    const { pid, host } = await launchContainer(folder, [image.root], process.pid);
    const target: Target = {
      host,
      port: 22,
      keyPath: image.keyPath,
      knownHostsPath: join(work, 'known_hosts'),
      socketFolder: sockets,
      generation: pid,
    };
    writeKnownHosts(image, { host, sshPort: 22 }, target.knownHostsPath);
    await waitUntilSettled(target);
    await runScript(target, script);
    await runOver(target, 'root', 'own', 'systemctl poweroff', { allowFailure: true });
    await closeShared(target);
    await waitForEnd(folder);
    await asRoot('keep', [folder, join(work, 'upper')]);
  } catch (error) {
    throw new SandboxError(`state '${state}': ${messageOf(error)}${lastWords(folder)}`);
  } finally {
    await asRoot('remove', [folder]);
    rmSync(sockets, { recursive: true, force: true });
    rmSync(join(work, 'known_hosts'), { force: true });
  }
}

/** The supervisor writes it to the console. */
async function waitForEnd(folder: string): Promise<void> {
  for (let waited = 0; waited < 600; waited++) {
    if (/^the host ended/m.test(readFileSync(join(folder, 'console.log'), 'utf8'))) return;
    await sleep(0.2);
  }
  throw new SandboxError('it did not power off within 120 s');
}
