import { messageOf, SandboxError } from './failure.ts';
import type { Hardware } from './hardware.ts';
import type { Image } from './image.ts';
import {
  type Instance,
  instancePaths,
  registerInstance,
  removeInstance,
  targetOf,
} from './instance.ts';
import { provideLayers } from './layer.ts';
import { BOOT_SECONDS, lastWords, launchContainer, waitUntilSettled } from './nspawn.ts';
import { asRoot } from './privilege.ts';
import { closeShared, runOver, waitForLogin } from './ssh.ts';
import { readBootScript, runScript } from './states.ts';

/** A host in systemd-nspawn: it shares only the kernel, and runs at native speed. */
export const container: Hardware = {
  async start(image, draft, say) {
    const folder = instancePaths(draft.name).container;
    try {
      const layers = await provideLayers(image, draft.state, say);
      const booted = await launchContainer(folder, layers, draft.ownerPid, draft.diskMegabytes);
      const instance = registerInstance(image, {
        ...draft,
        ...booted,
        kind: 'container',
        sshPort: 22,
        httpPort: 80,
        imageFolder: image.folder,
      });
      await settle(image, instance);
      return instance;
    } catch (error) {
      const console = lastWords(folder);
      await removeInstance(draft.name);
      throw new SandboxError(
        `machine '${draft.name}' did not come up: ${messageOf(error)}${console}`,
      );
    }
  },

  async reset(image, instance) {
    await closeShared(targetOf(image, instance));
    await tell('fresh', instance);
    await settle(image, instance);
    return instance;
  },

  async bootAgain(image, instance, cause) {
    const target = targetOf(image, instance);
    const before = await runOver(target, 'root', 'shared', READ_BOOT_ID, {});
    await cause((command) =>
      runOver(target, 'root', 'shared', command, { allowFailure: true, timeoutSeconds: 20 }),
    );
    await closeShared(target);
    await waitForLogin(target, BOOT_SECONDS, before.stdout.trim());
  },

  async crash(image, instance) {
    await tell('off', instance);
    await powerOn(image, instance);
  },

  powerOff: (instance) => tell('off', instance),
  powerOn,
  cutLink: (instance) => tell('cut', instance),
  restoreLink: (instance) => tell('mend', instance),

  // The cable too: otherwise the kernel would acknowledge packets that nobody reads.
  async freeze(instance) {
    await tell('cut', instance);
    await tell('freeze', instance);
  },
  async thaw(instance) {
    await tell('thaw', instance);
    await tell('mend', instance);
  },
};

const READ_BOOT_ID = 'cat /proc/sys/kernel/random/boot_id';

async function powerOn(image: Image, instance: Instance): Promise<Instance> {
  const target = targetOf(image, instance);
  await closeShared(target);
  await tell('on', instance);
  await waitForLogin(target, BOOT_SECONDS);
  return instance;
}

async function settle(image: Image, instance: Instance): Promise<void> {
  const target = targetOf(image, instance);
  await waitUntilSettled(target);
  if (instance.state !== undefined) await runScript(target, readBootScript(instance.state));
}

async function tell(verb: string, { name }: Instance): Promise<void> {
  await asRoot(verb, [instancePaths(name).container]);
}
