import { rmSync } from 'node:fs';
import { chooseAccelerator } from './accelerator.ts';
import type { CommandResult } from './command.ts';
import { messageOf, SandboxError } from './failure.ts';
import {
  type Image,
  knownHostsOf,
  openImage,
  provideImage,
  readKey,
  type Say,
  writeKnownHosts,
} from './image.ts';
import {
  endInstance,
  findInstance,
  type Instance,
  instancePaths,
  killOwnInstance,
  makeInstanceFolder,
  recordInstance,
  removeInstance,
  removeOrphans,
} from './instance.ts';
import { type Moment, provideMoment } from './moment.ts';
import { portCandidates } from './ports.ts';
import { forwardPort, launch, loadState, makeOverlay } from './qemu.ts';
import { type Monitor, withMonitor } from './qmp.ts';
import { closeShared, connectAndSetClock, runOver, type Target, waitForLogin } from './ssh.ts';
import { applyState } from './states.ts';

export type { CommandResult } from './command.ts';
export { SandboxError } from './failure.ts';
export { listStates } from './states.ts';

// Ten times what it takes: a busy builder is no reason to fail.
const BOOT_SECONDS = 600;

/** Who can log in: root; deploy, who has `sudo -n`; nosudo, who has not. */
export type User = 'root' | 'deploy' | 'nosudo';

export type RunOptions = {
  /** Default root. */
  user?: User;
  input?: string | Buffer;
  /** A code other than 0 is an answer, not an error. */
  allowFailure?: boolean;
  timeoutSeconds?: number;
};

export type StartOptions = {
  name: string;
  /** The state to find it in; absent: healthy and freshly booted. */
  state?: string;
  /** It stays when this process ends, until it is taken down. */
  detached?: boolean;
  say?: Say;
};

/** A throwaway host that is up. */
export type Machine = {
  readonly name: string;
  readonly host: '127.0.0.1';
  readonly sshPort: number;
  readonly httpPort: number;
  readonly state: string | undefined;
  /** The private key that all users log in with: its path and its text. */
  readonly keyPath: string;
  readonly key: string;
  /** Lines for known_hosts, one a host key: `[127.0.0.1]:port type base64`. */
  readonly knownHosts: string;
  readonly knownHostsPath: string;
  /** What the host wrote to its serial console. */
  readonly consolePath: string;

  /** One command line in the user's login shell, over a connection that stays open. */
  run(command: string, options?: RunOptions): Promise<CommandResult>;
  /** Writes a file as root; mode as for chmod, default 0644. */
  writeFile(path: string, text: string | Buffer, mode?: string): Promise<void>;
  /** Reads a text file as root. */
  readFile(path: string): Promise<string>;
  /** Runs a state's script on the machine as it is. */
  breakInto(state: string): Promise<void>;
  /** Throws everything away: the host as it was when it was started, same ports, same keys. */
  reset(): Promise<void>;
  /** `systemctl reboot`; back once logins are open. */
  reboot(): Promise<void>;
  /** `reboot -f`: nothing is told to end, nothing is synced; back once logins are open. */
  rebootAtOnce(): Promise<void>;
  /** The power goes, and comes back: what was not on the disk is lost. */
  crash(): Promise<void>;
  /** The power goes. Connections are refused until `powerOn`. */
  powerOff(): Promise<void>;
  powerOn(): Promise<void>;
  /** The network cable is out: connections hang, they are not refused. */
  cutLink(): Promise<void>;
  restoreLink(): Promise<void>;
  /** The host stands still, clock and all, until `thaw`. */
  freeze(): Promise<void>;
  thaw(): Promise<void>;
  /** Ends it and removes its disk; also at the end of an `await using`. */
  stop(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
};

/** So that machines do not outlive the process that started them. */
const owned = new Set<string>();

/**
 * Starts a machine, from nothing if need be; one of the same name is replaced. Ends with this
 * process unless `detached`.
 *
 * @throws SandboxError in words for a person.
 */
export async function startMachine(options: StartOptions): Promise<Machine> {
  const say = options.say ?? ((line) => process.stderr.write(`sandbox: ${line}\n`));
  await removeOrphans();
  const image = await provideImage(say);
  await removeInstance(options.name);
  const draft: Draft = {
    name: options.name,
    ...(options.state === undefined ? {} : { state: options.state }),
    ...(options.detached ? {} : { ownerPid: process.pid }),
  };
  const instance = await resume(image, draft, say);
  if (!options.detached) endWithProcess(options.name);
  return control(image, instance, say);
}

/** A machine that is up already. @throws SandboxError when it is not. */
export async function openMachine(name: string): Promise<Machine> {
  const instance = findInstance(name);
  if (instance === undefined) {
    throw new SandboxError(`no machine '${name}' is up: start it with 'up --name ${name}'`);
  }
  const say: Say = (line) => process.stderr.write(`sandbox: ${line}\n`);
  return control(openImage(instance.imageFolder), instance, say);
}

/** What is decided about a machine before it runs. */
type Draft = Pick<Instance, 'name' | 'state' | 'ownerPid'>;
type Ports = Pick<Instance, 'sshPort' | 'httpPort'>;

/** Starts from the saved moment, on a disk with no changes yet. */
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
    const instance = register(image, { ...draft, ...taken, pid, imageFolder: image.folder });
    await connectAndSetClock(targetOf(image, instance));
    return instance;
  });
}

/** Boots from the machine's own disk as it is. */
async function boot(image: Image, draft: Draft, ports: Ports): Promise<Instance> {
  return await bringUp(draft.name, async () => {
    const pid = await launchInstance(image, draft.name, undefined);
    const taken = await withMonitor(instancePaths(draft.name).monitor, (qemu) =>
      forwardPorts(qemu, draft.name, ports),
    );
    const instance = register(image, { ...draft, ...taken, pid, imageFolder: image.folder });
    await waitForLogin(targetOf(image, instance), BOOT_SECONDS);
    return instance;
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

function register(image: Image, instance: Instance): Instance {
  recordInstance(instance);
  writeKnownHosts(image, instance.sshPort, instancePaths(instance.name).knownHosts);
  return instance;
}

async function bringUp(name: string, start: () => Promise<Instance>): Promise<Instance> {
  try {
    return await start();
  } catch (error) {
    await endInstance(name);
    throw new SandboxError(`machine '${name}' did not come up: ${messageOf(error)}`);
  }
}

function draftOf({ name, state, ownerPid }: Instance): Draft {
  return {
    name,
    ...(state === undefined ? {} : { state }),
    ...(ownerPid === undefined ? {} : { ownerPid }),
  };
}

function targetOf(image: Image, instance: Instance): Target {
  const paths = instancePaths(instance.name);
  return {
    port: instance.sshPort,
    keyPath: image.keyPath,
    knownHostsPath: paths.knownHosts,
    socketFolder: paths.sockets,
    generation: instance.pid,
  };
}

function endWithProcess(name: string): void {
  if (owned.size === 0) {
    process.once('exit', () => {
      for (const each of owned) killOwnInstance(each);
    });
  }
  owned.add(name);
}

function control(image: Image, started: Instance, say: Say): Machine {
  let instance = started;
  const { name } = started;
  const paths = instancePaths(name);
  const target = () => targetOf(image, instance);
  const tellQemu = async (command: string, args?: Record<string, unknown>): Promise<void> => {
    await withMonitor(paths.monitor, (qemu) => qemu.ask(command, args));
  };

  const run = async (command: string, options: RunOptions = {}): Promise<CommandResult> => {
    const { user = 'root', ...rest } = options;
    return await runOver(target(), user, 'shared', command, rest);
  };
  const bootAgain = async (cause: (qemu: Monitor) => Promise<unknown>): Promise<void> => {
    const { stdout } = await run('cat /proc/sys/kernel/random/boot_id');
    await withMonitor(paths.monitor, async (qemu) => {
      // Until then a login would reach the host that is going down, and hang with it.
      const reset = qemu.waitFor('RESET', BOOT_SECONDS);
      await Promise.all([reset, cause(qemu)]);
    });
    await closeShared(target());
    await waitForLogin(target(), BOOT_SECONDS, stdout.trim());
  };

  const stop = async (): Promise<void> => {
    owned.delete(name);
    await removeInstance(name);
  };

  return {
    name,
    host: '127.0.0.1',
    sshPort: started.sshPort,
    httpPort: started.httpPort,
    state: started.state,
    keyPath: image.keyPath,
    key: readKey(image),
    knownHosts: knownHostsOf(image, started.sshPort),
    knownHostsPath: paths.knownHosts,
    consolePath: paths.console,
    run,
    async writeFile(path, text, mode = '0644') {
      await run(`cat >${quote(path)} && chmod ${quote(mode)} ${quote(path)}`, { input: text });
    },
    async readFile(path) {
      return (await run(`cat ${quote(path)}`)).stdout;
    },
    breakInto: (state) => applyState(target(), state),
    async reset() {
      await endInstance(name);
      instance = await resume(image, draftOf(instance), say, instance);
      requireSamePorts(started, instance);
    },
    // The answer may be lost with the connection.
    reboot: () =>
      bootAgain(() => run('systemctl reboot', { allowFailure: true, timeoutSeconds: 20 })),
    rebootAtOnce: () =>
      bootAgain(() => run('reboot -f', { allowFailure: true, timeoutSeconds: 20 })),
    crash: () => bootAgain((qemu) => qemu.ask('system_reset')),
    powerOff: () => endInstance(name),
    async powerOn() {
      instance = await boot(image, draftOf(instance), instance);
      requireSamePorts(started, instance);
    },
    cutLink: () => tellQemu('set_link', { name: 'nic', up: false }),
    restoreLink: () => tellQemu('set_link', { name: 'nic', up: true }),
    freeze: () => tellQemu('stop'),
    thaw: () => tellQemu('cont'),
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

/** Whoever holds this machine has told others its ports. */
function requireSamePorts(before: Ports, after: Ports): void {
  if (before.sshPort !== after.sshPort || before.httpPort !== after.httpPort) {
    throw new SandboxError(
      `port ${before.sshPort} or ${before.httpPort} was taken by another program meanwhile: ` +
        'start the machine anew',
    );
  }
}

/** One word of a shell's command line. */
function quote(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}
