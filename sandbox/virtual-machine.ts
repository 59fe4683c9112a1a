import { rmSync } from 'node:fs';
import { chooseAccelerator } from './accelerator.ts';
import { messageOf, SandboxError } from './failure.ts';
import type { Draft, Hardware } from './hardware.ts';
import type { Image, Say } from './image.ts';
import {
  draftOf,
  endInstance,
  type Instance,
  instancePaths,
  makeInstanceFolder,
  registerInstance,
  targetOf,
} from './instance.ts';
import { type Moment, provideMoment } from './moment.ts';
import { portCandidates } from './ports.ts';
import { forwardPort, launch, loadState, makeOverlay } from './qemu.ts';
import { type Monitor, withMonitor } from './qmp.ts';
import { closeShared, connectAndSetClock, runOver, waitForLogin } from './ssh.ts';

// Ten times as long as usual: a busy machine is no reason to fail.
const BOOT_SECONDS = 600;

type Ports = Pick<Instance, 'sshPort' | 'httpPort'>;

/** A host in QEMU, with its own kernel, on loopback ports. */
export const virtualMachine: Hardware = {
  start: (image, draft, say) => resume(image, draft, say),

  async reset(image, instance, say) {
    await endInstance(instance.name);
    const fresh = await resume(image, draftOf(instance), say, instance);
    requireSamePorts(instance, fresh);
    return fresh;
  },

  async bootAgain(image, instance, cause) {
    const run = (command: string) =>
      runOver(targetOf(image, instance), 'root', 'shared', command, {
        allowFailure: true,
        timeoutSeconds: 20,
      });
    await bootBecauseOf(image, instance, () => cause(run));
  },

  crash: (image, instance) => bootBecauseOf(image, instance, (qemu) => qemu.ask('system_reset')),

  powerOff: ({ name }) => endInstance(name),

  async powerOn(image, instance) {
    const booted = await boot(image, draftOf(instance), instance);
    requireSamePorts(instance, booted);
    return booted;
  },

  cutLink: (instance) => tellQemu(instance, 'set_link', { name: 'nic', up: false }),
  restoreLink: (instance) => tellQemu(instance, 'set_link', { name: 'nic', up: true }),
  freeze: (instance) => tellQemu(instance, 'stop'),
  thaw: (instance) => tellQemu(instance, 'cont'),
};

async function tellQemu(
  { name }: Instance,
  command: string,
  args?: Record<string, unknown>,
): Promise<void> {
  await withMonitor(instancePaths(name).monitor, (qemu) => qemu.ask(command, args));
}

async function bootBecauseOf(
  image: Image,
  instance: Instance,
  cause: (qemu: Monitor) => Promise<unknown>,
): Promise<void> {
  const target = targetOf(image, instance);
  const { stdout } = await runOver(
    target,
    'root',
    'shared',
    'cat /proc/sys/kernel/random/boot_id',
    {},
  );
  await withMonitor(instancePaths(instance.name).monitor, async (qemu) => {
    // Until then a login would reach the host that is shutting down, and hang.
    const reset = qemu.waitFor('RESET', BOOT_SECONDS);
    await Promise.all([reset, cause(qemu)]);
  });
  await closeShared(target);
  await waitForLogin(target, BOOT_SECONDS, stdout.trim());
}

/** Starts from the saved moment, on an unchanged disk. */
async function resume(image: Image, draft: Draft, say: Say, ports?: Ports): Promise<Instance> {
  const moment = await provideMoment(image, await chooseAccelerator(), draft.state, say);
  const { folder, disk, monitor } = instancePaths(draft.name);
  makeInstanceFolder(folder);
  rmSync(disk, { force: true });
  await makeOverlay(moment.disk, disk);
  return await bringUp(draft.name, async () => {
    const pid = await launchInstance(image, draft.name, moment);
    const taken = await withMonitor(monitor, async (qemu) => {
      await loadState(qemu, moment.device);
      const forwarded = await forwardPorts(qemu, draft.name, ports);
      await qemu.ask('cont');
      return forwarded;
    });
    const instance = register(image, draft, taken, pid);
    await connectAndSetClock(targetOf(image, instance));
    return instance;
  });
}

/** Boots from the machine's current disk. */
async function boot(image: Image, draft: Draft, ports: Ports): Promise<Instance> {
  return await bringUp(draft.name, async () => {
    const pid = await launchInstance(image, draft.name, undefined);
    const taken = await withMonitor(instancePaths(draft.name).monitor, (qemu) =>
      forwardPorts(qemu, draft.name, ports),
    );
    const instance = register(image, draft, taken, pid);
    await waitForLogin(targetOf(image, instance), BOOT_SECONDS);
    return instance;
  });
}

function register(image: Image, draft: Draft, ports: Ports, pid: number): Instance {
  return registerInstance(image, {
    ...draft,
    ...ports,
    kind: 'vm',
    host: '127.0.0.1',
    pid,
    imageFolder: image.folder,
  });
}

async function launchInstance(
  image: Image,
  name: string,
  moment: Moment | undefined,
): Promise<number> {
  const paths = instancePaths(name);
  return await launch({
    image,
    accelerator: await chooseAccelerator(),
    disk: paths.disk,
    ram: moment ? { file: moment.ram, changes: 'copy' } : 'anonymous',
    incoming: moment !== undefined,
    monitorPath: paths.monitor,
    pidPath: paths.pid,
    consolePath: paths.console,
  });
}

async function forwardPorts(qemu: Monitor, name: string, ports?: Ports): Promise<Ports> {
  const { folder } = instancePaths(name);
  return {
    sshPort: await forwardPort(qemu, portCandidates(`${folder}:ssh`, ports?.sshPort), 22),
    httpPort: await forwardPort(qemu, portCandidates(`${folder}:http`, ports?.httpPort), 80),
  };
}

async function bringUp(name: string, start: () => Promise<Instance>): Promise<Instance> {
  try {
    return await start();
  } catch (error) {
    await endInstance(name);
    throw new SandboxError(`machine '${name}' did not come up: ${messageOf(error)}`);
  }
}

/** The ports of a machine must stay the same, because its user relies on them. */
function requireSamePorts(before: Ports, after: Ports): void {
  if (before.sshPort !== after.sshPort || before.httpPort !== after.httpPort) {
    throw new SandboxError(
      `another program has taken port ${before.sshPort} or ${before.httpPort}: ` +
        'start the machine again',
    );
  }
}
