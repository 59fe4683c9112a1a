import { kindFor, type Need } from './capacity.ts';
import type { CommandResult } from './command.ts';
import { container } from './container.ts';
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
export type { CommandResult } from './command.ts';
export { SandboxError } from './failure.ts';
export { listStates } from './states.ts';

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
  /** What it must have that a container may not; it decides the kind. */
  needs?: readonly Need[];
  /** Absent: a container where one can be had and gives what is needed. */
  kind?: Kind;
  /** What a container may write, where the usual 3 GB are not wanted; a VM's disk has one size. */
  diskMegabytes?: number;
  /** It stays when this process ends, until it is taken down. */
  detached?: boolean;
  say?: Say;
};

/** A throwaway host that is up. */
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
  /** Lines for known_hosts, one a host key: `host type base64`. */
  readonly knownHosts: string;
  /** The host in them: `host`, or `[host]:port`. */
  readonly knownName: string;
  readonly knownHostsPath: string;
  /** What the host wrote to its console. */
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
  const kind = await kindFor(options.needs ?? [], options.kind, say);
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

/** A machine that is up already. @throws SandboxError when it is not. */
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
    // The answer may be lost with the connection.
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

/** One word of a shell's command line. */
function quote(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}
