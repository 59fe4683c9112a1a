import { readdirSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { type Accelerator, QEMU, QEMU_MISSING } from './accelerator.ts';
import { execute, sleep } from './command.ts';
import { SandboxError } from './failure.ts';
import type { Image } from './image.ts';
import { type Monitor, withMonitor } from './qmp.ts';

const RAM_MEBIBYTES = 1024;

/** One QEMU to start. */
export type Launch = {
  image: Image;
  accelerator: Accelerator;
  /** The qcow2 that the guest writes to. */
  disk: string;
  /** The guest's memory as a file: `write` changes the file, `copy` keeps changes to itself. */
  ram: { file: string; changes: 'write' | 'copy' } | 'anonymous';
  /** Wait for a saved state instead of booting. */
  incoming: boolean;
  monitorPath: string;
  pidPath: string;
  consolePath: string;
};

/** Starts QEMU in the background; its process id. @throws SandboxError with QEMU's own words. */
export async function launch(options: Launch): Promise<number> {
  await execute(QEMU, [...hardware(options), ...wiring(options)], { missing: QEMU_MISSING });
  return Number(readFileSync(options.pidPath, 'utf8'));
}

/** What the guest sees; a saved state fits only the very same. */
function hardware({ accelerator, image, disk, ram }: Launch): string[] {
  const memory =
    ram === 'anonymous'
      ? `memory-backend-ram,id=ram,size=${RAM_MEBIBYTES}M`
      : `memory-backend-file,id=ram,size=${RAM_MEBIBYTES}M,mem-path=${escapeCommas(ram.file)},share=${
          ram.changes === 'write' ? 'on' : 'off'
        }`;
  return [
    ...['-accel', accelerator === 'kvm' ? 'kvm' : 'tcg,thread=multi,tb-size=256'],
    // A plain processor: each extension is more work to emulate than it saves (SHA-256 takes three
    // times as long with AVX2), nor virtualization, whose driver the guest would load.
    ...['-cpu', accelerator === 'kvm' ? 'host' : 'qemu64,svm=off'],
    ...['-machine', 'pc,memory-backend=ram', '-smp', '1', '-m', `${RAM_MEBIBYTES}`],
    ...['-object', memory, '-nodefaults', '-no-user-config', '-display', 'none'],
    ...['-kernel', image.kernel, '-initrd', image.initrd, '-append', kernelArguments().join(' ')],
    // unsafe: only the host's own crash can lose data. Zeros written become holes, so that a swap
    // file written by dd costs no real disk.
    ...[
      '-drive',
      `file=${escapeCommas(disk)},if=none,id=disk,cache=unsafe,discard=unmap,detect-zeroes=unmap`,
    ],
    ...['-device', 'virtio-blk-pci,drive=disk'],
    // restrict: no way out of the guest; the forwarded ports lead in.
    ...['-netdev', 'user,id=net,restrict=on'],
    ...['-device', 'virtio-net-pci,id=nic,netdev=net,romfile='],
  ];
}

function kernelArguments(): string[] {
  return [
    'root=/dev/vda',
    'rw',
    'console=ttyS0',
    'quiet',
    'net.ifnames=0',
    'fsck.mode=skip',
    'mitigations=off',
    'init_on_alloc=0',
    'apparmor=0',
    // A busy builder may not run the guest for seconds: no reason to cry lockup.
    'nowatchdog',
    'panic=-1',
  ];
}

function wiring({ monitorPath, pidPath, consolePath, incoming }: Launch): string[] {
  return [
    ...[
      '-qmp',
      `unix:${escapeCommas(monitorPath)},server=on,wait=off`,
      '-pidfile',
      pidPath,
      '-daemonize',
    ],
    ...[
      '-chardev',
      `file,id=console,path=${escapeCommas(consolePath)},append=on`,
      '-serial',
      'chardev:console',
    ],
    ...(incoming ? ['-incoming', 'defer'] : []),
  ];
}

/** In QEMU's option lists a comma ends the value unless it is doubled. */
function escapeCommas(path: string): string {
  return path.replaceAll(',', ',,');
}

/** QEMU's version as it says it: a state saved by one may not fit another. */
export async function readQemuVersion(): Promise<string> {
  const { stdout } = await execute(QEMU, ['--version'], { missing: QEMU_MISSING });
  return stdout.split('\n')[0] ?? '';
}

/** A new disk that holds only the changes to another. */
export async function makeOverlay(backing: string, path: string): Promise<void> {
  await execute('qemu-img', ['create', '-q', '-f', 'qcow2', '-F', 'qcow2', '-b', backing, path], {
    missing: 'qemu-img is not installed (package qemu-utils)',
  });
}

/** Stops the guest and saves all but its memory, which is in the shared file already. */
export async function saveState(monitorPath: string, path: string): Promise<void> {
  await withMonitor(monitorPath, async (monitor) => {
    await monitor.ask('stop');
    await leaveMemoryOut(monitor);
    await monitor.ask('migrate', { uri: `exec:cat >'${path}'` });
    await waitForMigration(monitor, `saving the state to ${path}`);
  });
}

/** Loads a saved state into a QEMU launched with `incoming`; the guest stays stopped. */
export async function loadState(monitor: Monitor, path: string): Promise<void> {
  await leaveMemoryOut(monitor);
  await monitor.ask('migrate-incoming', { uri: `exec:cat '${path}'` });
  await waitForMigration(monitor, `loading the state from ${path}`);
}

async function leaveMemoryOut(monitor: Monitor): Promise<void> {
  await monitor.ask('migrate-set-capabilities', {
    capabilities: [{ capability: 'x-ignore-shared', state: true }],
  });
}

async function waitForMigration(monitor: Monitor, what: string): Promise<void> {
  for (;;) {
    const answer = (await monitor.ask('query-migrate')) as { status?: string };
    if (answer.status === 'completed') return;
    if (answer.status === 'failed' || answer.status === 'cancelled') {
      throw new SandboxError(`${what}: ${answer.status}`);
    }
    await sleep(0.02);
  }
}

/** Forwards a loopback port into the guest; the first free one of the candidates. */
export async function forwardPort(
  monitor: Monitor,
  candidates: Iterable<number>,
  guestPort: number,
): Promise<number> {
  let said = 'no candidates';
  for (const port of candidates) {
    // QEMU binds the port itself: whoever asks first has it, with no moment in between.
    said = await monitor.tell(`hostfwd_add net tcp:127.0.0.1:${port}-:${guestPort}`);
    if (said === '') return port;
  }
  throw new SandboxError(`no free loopback port for the guest's port ${guestPort}: ${said}`);
}

/** Is it alive, and is it the QEMU that listens on this monitor? A process id alone is reused. */
export function isOurs(pid: number, monitorPath: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(monitorPath);
  } catch {
    return false;
  }
}

/** The QEMUs that have this path on their command line: a monitor, a folder of their files. */
export function findQemus(path: string): number[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .map(Number)
    .filter((pid) => isOurs(pid, path) && programOf(pid).startsWith('qemu-system'));
}

function programOf(pid: number): string {
  try {
    return basename(readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')[0] ?? '');
  } catch {
    return '';
  }
}

/** Ends a QEMU at once, if it is ours, and waits until it is gone. */
export async function endQemu(pid: number, monitorPath: string): Promise<void> {
  if (!isOurs(pid, monitorPath)) return;
  process.kill(pid, 'SIGKILL');
  // Its memory, and with it its command line, goes first; its ports are free only at the very end.
  while (isThere(pid)) await sleep(0.01);
}

/**
 * Not yet gone, nor a zombie that only waits to be counted. While other threads end, the first is
 * a zombie already and the files are still open.
 */
function isThere(pid: number): boolean {
  try {
    const status = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const ended = /^[ZX]/.test(status.slice(status.lastIndexOf(')') + 2));
    return !ended || readdirSync(`/proc/${pid}/task`).length > 1;
  } catch {
    return false;
  }
}

/** Lets a QEMU end in good order: the disk's last blocks are still with it. */
export async function quitQemu(pid: number, monitorPath: string): Promise<void> {
  if (isOurs(pid, monitorPath)) {
    // It may hang up before it answers.
    await withMonitor(monitorPath, (monitor) => monitor.ask('quit')).catch(() => {});
    for (let waited = 0; waited < 300 && isThere(pid); waited++) await sleep(0.05);
  }
  await endQemu(pid, monitorPath);
}
