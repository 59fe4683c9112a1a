import { kindFor, type Need } from './capacity.ts';
import type { CommandResult } from './command.ts';
import { container } from './container.ts';
import { defaultEdition, type Edition } from './edition.ts';
import { SandboxError } from './failure.ts';
import type { Draft, Hardware } from './hardware.ts';
import {
  type Image,
  knownHostsOf,
  knownNameOf,
  openImage,
  provideImage,
  readKey,
  type Say,
} from './image.ts';
import {
  claimInstance,
  consolePath,
  findInstance,
  type Instance,
  instancePaths,
  type Kind,
  killOwnInstance,
  removeInstance,
  removeOrphans,
  targetOf,
} from './instance.ts';
import { runOver } from './ssh.ts';
import { applyState } from './states.ts';
import { virtualMachine } from './virtual-machine.ts';

export type { Need } from './capacity.ts';
export { SandboxError } from './failure.ts';

/** Users that can log in: root; deploy, with `sudo -n`; nosudo, without it. */
export type User = 'root' | 'deploy' | 'nosudo';

export type RunOptions = {
  /** Default root. */
  user?: User;
  input?: string | Buffer;
  /** A non-zero exit code is a result, not an error. */
  allowFailure?: boolean;
  timeoutSeconds?: number;
};

export type StartOptions = {
  name: string;
  /** The state to start in; absent: healthy and freshly booted. */
  state?: string;
  /** The image that it is made of; absent: Debian 12. */
  edition?: Edition;
  /** Requirements that a container may not fulfil; they decide the kind. */
  needs?: readonly Need[];
  /** Absent: a container if possible and sufficient. */
  kind?: Kind;
  /** Disk size of a container instead of 3 GB; the disk of a VM has a fixed size. */
  diskMegabytes?: number;
  /** The machine stays up when this process exits. */
  detached?: boolean;
  say?: Say;
};

/** A running throwaway host. */
export type Machine = {
  readonly name: string;
  readonly kind: Kind;
  readonly host: string;
  readonly sshPort: number;
  readonly httpPort: number;
  readonly state: string | undefined;
  /** The private key that all users log in with: its path and its text. */
  readonly keyPath: string;
  readonly key: string;
  /** Lines for known_hosts, one per host key: `host type base64`. */
  readonly knownHosts: string;
  /** The host name in these lines: `host`, or `[host]:port`. */
  readonly knownName: string;
  readonly knownHostsPath: string;
  /** The file with its console output. */
  readonly consolePath: string;

  /** Runs a command line in the user's login shell, over a connection that stays open. */
  run(command: string, options?: RunOptions): Promise<CommandResult>;
  /** Writes a file as root; `mode` as for chmod, default 0644. */
  writeFile(path: string, text: string | Buffer, mode?: string): Promise<void>;
  /** Reads a text file as root. */
  readFile(path: string): Promise<string>;
  /** Runs the script of a state on the running machine. */
  breakInto(state: string): Promise<void>;
  /** Discards all changes: the host is as when it was started, with the same ports and keys. */
  reset(): Promise<void>;
  /** `systemctl reboot`; returns once logins are possible. */
  reboot(): Promise<void>;
  /** `reboot -f`: nothing is stopped or synced; returns once logins are possible. */
  rebootAtOnce(): Promise<void>;
  /** Cuts the power and turns it on again: what was not on the disk is lost. */
  crash(): Promise<void>;
  /** Cuts the power. Connections are refused until `powerOn`. */
  powerOff(): Promise<void>;
  powerOn(): Promise<void>;
  /** Unplugs the network cable: connections hang, they are not refused. */
  cutLink(): Promise<void>;
  restoreLink(): Promise<void>;
  /** Stops the whole host, including its clock, until `thaw`. */
  freeze(): Promise<void>;
  thaw(): Promise<void>;
  /** Stops it and removes its disk; also at the end of an `await using`. */
  stop(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
};

/** Machines must not outlive the process that started them. */
const owned = new Set<string>();

/**
 * Starts a machine and builds what it needs; a machine of the same name is replaced. It ends with
 * this process unless `detached`.
 *
 * @throws SandboxError with a message for people.
 */
export async function startMachine(options: StartOptions): Promise<Machine> {
  const say = options.say ?? ((line) => process.stderr.write(`sandbox: ${line}\n`));
  await removeOrphans();
  const edition = options.edition ?? defaultEdition();
  const image = await provideImage(say, edition);
  const wanted = edition.bootable ? options.kind : 'container';
  const kind = await kindFor(options.needs ?? [], wanted, say);
  await removeInstance(options.name);
  const draft: Draft = {
    name: options.name,
    ...(options.state === undefined ? {} : { state: options.state }),
    ...(options.diskMegabytes === undefined ? {} : { diskMegabytes: options.diskMegabytes }),
    ...(options.detached ? {} : { ownerPid: process.pid }),
  };
  claimInstance(draft);
  if (!options.detached) endWithProcess(options.name);
  const instance = await hardwareOf(kind).start(image, draft, say);
  return control(image, instance, say);
}

function hardwareOf(kind: Kind): Hardware {
  return kind === 'container' ? container : virtualMachine;
}

/** A machine that is already up. @throws SandboxError when it is not. */
export async function openMachine(name: string): Promise<Machine> {
  const instance = findInstance(name);
  if (instance === undefined) {
    throw new SandboxError(`no machine '${name}' is up: start it with 'up --name ${name}'`);
  }
  const say: Say = (line) => process.stderr.write(`sandbox: ${line}\n`);
  return control(openImage(instance.imageFolder), instance, say);
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
  const { name, kind, host, sshPort, httpPort, state } = started;
  const hardware = hardwareOf(kind);
  const target = () => targetOf(image, instance);

  const run = async (command: string, options: RunOptions = {}): Promise<CommandResult> => {
    const { user = 'root', ...rest } = options;
    return await runOver(target(), user, 'shared', command, rest);
  };
  const stop = async (): Promise<void> => {
    owned.delete(name);
    await removeInstance(name);
  };

  return {
    name,
    kind,
    host,
    sshPort,
    httpPort,
    state,
    keyPath: image.keyPath,
    key: readKey(image),
    knownHosts: knownHostsOf(image, started),
    knownName: knownNameOf(started),
    knownHostsPath: instancePaths(name).knownHosts,
    consolePath: consolePath(started),
    run,
    async writeFile(path, text, mode = '0644') {
      await run(`cat >${quote(path)} && chmod ${quote(mode)} ${quote(path)}`, { input: text });
    },
    async readFile(path) {
      return (await run(`cat ${quote(path)}`)).stdout;
    },
    breakInto: (state) => applyState(target(), state),
    async reset() {
      instance = await hardware.reset(image, instance, say);
    },
    // The reply may be lost with the connection.
    reboot: () => hardware.bootAgain(image, instance, (tell) => tell('systemctl reboot')),
    rebootAtOnce: () => hardware.bootAgain(image, instance, (tell) => tell('reboot -f')),
    crash: () => hardware.crash(image, instance),
    powerOff: () => hardware.powerOff(instance),
    async powerOn() {
      instance = await hardware.powerOn(image, instance);
    },
    cutLink: () => hardware.cutLink(instance),
    restoreLink: () => hardware.restoreLink(instance),
    freeze: () => hardware.freeze(instance),
    thaw: () => hardware.thaw(instance),
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

/** Quotes one word of a shell command line. */
function quote(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}
