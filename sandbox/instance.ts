import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { SandboxError } from './failure.ts';
import { INSTANCES_FOLDER, socketFolder } from './folders.ts';
import type { Draft } from './hardware.ts';
import { type Image, writeKnownHosts } from './image.ts';
import { asRoot, asRootAtOnce } from './privilege.ts';
import { endQemu, findQemus, isOurs } from './qemu.ts';
import type { Target } from './ssh.ts';

/** A container shares this machine's kernel; a VM is QEMU with its own kernel. */
export type Kind = 'container' | 'vm';

/** The record of a running machine, in `.sandbox/<name>/machine.json`. */
export type Instance = {
  name: string;
  kind: Kind;
  /** QEMU, or the supervisor of a container. */
  pid: number;
  host: string;
  sshPort: number;
  httpPort: number;
  /** Its state after `up` and `reset`; absent: a healthy, freshly booted host. */
  state?: string;
  /** The folder of its image in the cache, with the login key and host keys. */
  imageFolder: string;
  /** The machine ends with this process; absent: it stays until `down`. */
  ownerPid?: number;
};

/** The paths of a machine's files and sockets. */
export type InstancePaths = {
  folder: string;
  record: string;
  /** The process that the machine ends with; written before the machine starts. */
  owner: string;
  /** Files of a container: see container.sh. */
  container: string;
  disk: string;
  knownHosts: string;
  pid: string;
  console: string;
  sockets: string;
  monitor: string;
};

/** @throws SandboxError when the name is not valid for a folder. */
export function instancePaths(name: string): InstancePaths {
  if (!/^[a-z0-9][a-z0-9._-]{0,40}$/i.test(name)) {
    throw new SandboxError(`machine name '${name}': expected letters, digits, '.', '_' or '-'`);
  }
  const folder = join(INSTANCES_FOLDER, name);
  const sockets = socketFolder(folder);
  return {
    folder,
    record: join(folder, 'machine.json'),
    owner: join(folder, 'owner'),
    container: join(folder, 'container'),
    disk: join(folder, 'disk.qcow2'),
    knownHosts: join(folder, 'known_hosts'),
    pid: join(folder, 'pid'),
    console: join(folder, 'console.log'),
    sockets,
    monitor: join(sockets, 'qmp'),
  };
}

/** The names of all machines of this checkout, running or left over. */
export function listInstances(): string[] {
  if (!existsSync(INSTANCES_FOLDER)) return [];
  return readdirSync(INSTANCES_FOLDER, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
    .sort();
}

/** The running machine of this name; leftovers of an earlier boot do not count. */
export function findInstance(name: string): Instance | undefined {
  const paths = instancePaths(name);
  let instance: Instance;
  try {
    instance = JSON.parse(readFileSync(paths.record, 'utf8'));
  } catch {
    return undefined;
  }
  const mark = instance.kind === 'vm' ? paths.monitor : paths.container;
  return isOurs(instance.pid, mark) ? instance : undefined;
}

/** The file with the machine's console output. */
export function consolePath({ name, kind }: Instance): string {
  const paths = instancePaths(name);
  return kind === 'vm' ? paths.console : join(paths.container, 'console.log');
}

/** The draft of a machine, to start it again. */
export function draftOf({ name, state, ownerPid }: Instance): Draft {
  return {
    name,
    ...(state === undefined ? {} : { state }),
    ...(ownerPid === undefined ? {} : { ownerPid }),
  };
}

/** How to log in. */
export function targetOf(image: Image, instance: Instance): Target {
  const paths = instancePaths(instance.name);
  return {
    host: instance.host,
    port: instance.sshPort,
    keyPath: image.keyPath,
    knownHostsPath: paths.knownHosts,
    socketFolder: paths.sockets,
    generation: instance.pid,
  };
}

/** Records a running machine, and its host keys. */
export function registerInstance(image: Image, instance: Instance): Instance {
  recordInstance(instance);
  writeKnownHosts(image, instance, instancePaths(instance.name).knownHosts);
  return instance;
}

/** Records the owner of the machine before it starts. */
export function claimInstance({ name, ownerPid }: Draft): void {
  const { folder, owner } = instancePaths(name);
  makeInstanceFolder(folder);
  writeFileSync(owner, `${ownerPid ?? ''}`);
}

/** Makes Git ignore the folder. */
export function makeInstanceFolder(folder: string): void {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(INSTANCES_FOLDER, '.gitignore'), '*\n');
}

/** Writes atomically. */
function recordInstance(instance: Instance): void {
  const { folder, record } = instancePaths(instance.name);
  makeInstanceFolder(folder);
  writeFileSync(`${record}.new`, `${JSON.stringify(instance, null, 2)}\n`);
  renameSync(`${record}.new`, record);
}

/** Stops the machine if it runs, and removes its files. */
export async function removeInstance(name: string): Promise<void> {
  const paths = instancePaths(name);
  await endInstance(name);
  if (existsSync(paths.container)) await asRoot('remove', [paths.container]);
  rmSync(paths.folder, { recursive: true, force: true });
  rmSync(paths.sockets, { recursive: true, force: true });
}

/**
 * Ends the machine's QEMU if it runs. It is found by its command line: if its starter was killed, it
 * may have no record and no pid file yet, and would hold the disk and the lock of the next one.
 */
export async function endInstance(name: string): Promise<void> {
  const { monitor, pid } = instancePaths(name);
  for (let found = findQemus(monitor); found.length > 0; found = findQemus(monitor)) {
    for (const each of found) await endQemu(each, monitor);
  }
  // A QEMU that is almost gone shows no command line, and holds the lock on this file to the end.
  rmSync(pid, { force: true });
}

/** Removes machines whose owner exited without stopping them. */
export async function removeOrphans(): Promise<void> {
  for (const name of listInstances()) {
    const owner = readOwner(name);
    if (owner !== undefined && !existsSync(`/proc/${owner}`)) await removeInstance(name);
  }
}

function readOwner(name: string): number | undefined {
  try {
    return Number(readFileSync(instancePaths(name).owner, 'utf8')) || undefined;
  } catch {
    return undefined;
  }
}

/**
 * The same for a process that is exiting: without waiting, and only if the machine is still its own,
 * not one of the same name that another process has started since.
 */
export function killOwnInstance(name: string): void {
  const paths = instancePaths(name);
  if (readOwner(name) !== process.pid) return;
  const instance = findInstance(name);
  if (instance?.kind === 'vm') process.kill(instance.pid, 'SIGKILL');
  if (existsSync(paths.container)) asRootAtOnce('remove', [paths.container]);
  rmSync(paths.folder, { recursive: true, force: true });
  rmSync(paths.sockets, { recursive: true, force: true });
}
