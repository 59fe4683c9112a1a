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

/** A container shares this machine's kernel; a VM is QEMU with a kernel of its own. */
export type Kind = 'container' | 'vm';

/** What is known of a machine that is up, kept in `.sandbox/<name>/machine.json`. */
export type Instance = {
  name: string;
  kind: Kind;
  /** QEMU, or the supervisor of a container. */
  pid: number;
  host: string;
  sshPort: number;
  httpPort: number;
  /** The state that `up` and `reset` bring it to; absent: a healthy, freshly booted host. */
  state?: string;
  /** The image's folder in the cache: its login key and host keys. */
  imageFolder: string;
  /** The process that ends the machine when it ends; absent: it stays until `down`. */
  ownerPid?: number;
};

/** Where a machine's files and sockets are. */
export type InstancePaths = {
  folder: string;
  record: string;
  /** Who ends the machine when it ends; written before anything of it runs. */
  owner: string;
  /** A container's: see container.sh. */
  container: string;
  disk: string;
  knownHosts: string;
  pid: string;
  console: string;
  sockets: string;
  monitor: string;
};

/** @throws SandboxError when the name could not be a folder's. */
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

/** The names of all machines of this checkout, up or left behind. */
export function listInstances(): string[] {
  if (!existsSync(INSTANCES_FOLDER)) return [];
  return readdirSync(INSTANCES_FOLDER, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
    .sort();
}

/** The machine of this name while it is there; what an earlier boot left behind is none. */
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

/** Where the machine writes its console. */
export function consolePath({ name, kind }: Instance): string {
  const paths = instancePaths(name);
  return kind === 'vm' ? paths.console : join(paths.container, 'console.log');
}

/** What was decided about a machine, to start it anew. */
export function draftOf({ name, state, ownerPid }: Instance): Draft {
  return {
    name,
    ...(state === undefined ? {} : { state }),
    ...(ownerPid === undefined ? {} : { ownerPid }),
  };
}

/** How to log in to it. */
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

/** Writes down a machine that runs, and how its host keys are known. */
export function registerInstance(image: Image, instance: Instance): Instance {
  recordInstance(instance);
  writeKnownHosts(image, instance, instancePaths(instance.name).knownHosts);
  return instance;
}

/** Says whose the machine is, before anything of it runs. */
export function claimInstance({ name, ownerPid }: Draft): void {
  const { folder, owner } = instancePaths(name);
  makeInstanceFolder(folder);
  writeFileSync(owner, `${ownerPid ?? ''}`);
}

/** Git never sees what is in there. */
export function makeInstanceFolder(folder: string): void {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(INSTANCES_FOLDER, '.gitignore'), '*\n');
}

/** Written whole or not at all. */
function recordInstance(instance: Instance): void {
  const { folder, record } = instancePaths(instance.name);
  makeInstanceFolder(folder);
  writeFileSync(`${record}.new`, `${JSON.stringify(instance, null, 2)}\n`);
  renameSync(`${record}.new`, record);
}

/** Ends the machine, if it runs, and removes what it left. */
export async function removeInstance(name: string): Promise<void> {
  const paths = instancePaths(name);
  await endInstance(name);
  if (existsSync(paths.container)) await asRoot('remove', [paths.container]);
  rmSync(paths.folder, { recursive: true, force: true });
  rmSync(paths.sockets, { recursive: true, force: true });
}

/**
 * Ends the machine's QEMU, if it runs. By its command line: one whose starter was killed may have
 * neither a record nor, yet, a pid file, and would take the disk and the lock of the next.
 */
export async function endInstance(name: string): Promise<void> {
  const { monitor, pid } = instancePaths(name);
  for (let found = findQemus(monitor); found.length > 0; found = findQemus(monitor)) {
    for (const each of found) await endQemu(each, monitor);
  }
  // One that is almost gone shows no command line any more, and holds this file's lock to its end.
  rmSync(pid, { force: true });
}

/** Removes the machines whose owner ended without ending them. */
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
 * The same for a process that is ending: without waiting, and only what is still its own, not a
 * machine of the same name that another process has started since.
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
