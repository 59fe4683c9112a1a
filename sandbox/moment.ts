import { readFileSync, rmSync } from 'node:fs';
import { cpus } from 'node:os';
import { basename, join } from 'node:path';
import type { Accelerator } from './accelerator.ts';
import { execute, sleep } from './command.ts';
import { SandboxError } from './failure.ts';
import { digest, SANDBOX_FOLDER, socketFolder } from './folders.ts';
import { type Image, type Say, writeKnownHosts } from './image.ts';
import { portCandidates } from './ports.ts';
import {
  forwardPort,
  type Launch,
  launch,
  loadState,
  makeOverlay,
  quitQemu,
  readQemuVersion,
  saveState,
} from './qemu.ts';
import { withMonitor } from './qmp.ts';
import { provideSaved } from './saved.ts';
import { closeShared, connectAndSetClock, runOver, type Target, waitForLogin } from './ssh.ts';
import { applyState, readState } from './states.ts';

/** A running host, saved: any number of machines start from it, each with its own changes. */
export type Moment = { folder: string; disk: string; ram: string; device: string };

const BOOT_SECONDS = 240;
const LOOPBACK = '127.0.0.1';

/**
 * The moment at which a machine is freshly booted and settled or, with a state, has been broken
 * into it as well. From the cache, else made: a boot takes half a minute under emulation.
 *
 * @throws SandboxError when QEMU is missing, the host does not come up, or the state is unknown.
 */
export async function provideMoment(
  image: Image,
  accelerator: Accelerator,
  state: string | undefined,
  say: Say,
): Promise<Moment> {
  const label = state ?? 'clean';
  const key = await hashMoment(accelerator, state);
  const moments = join(image.folder, 'moments');
  const clean =
    state === undefined ? undefined : await provideMoment(image, accelerator, undefined, say);
  const base = clean === undefined ? {} : { base: basename(clean.folder) };
  const folder = await provideSaved({ parent: moments, label, key, ...base }, say, (work) =>
    makeMoment(work, image, accelerator, clean, state, say),
  );
  return openMoment(folder);
}

function openMoment(folder: string): Moment {
  return {
    folder,
    disk: join(folder, 'disk.qcow2'),
    ram: join(folder, 'ram'),
    device: join(folder, 'device'),
  };
}

/** Everything that decides what a saved state looks like and who can load it. */
async function hashMoment(accelerator: Accelerator, state: string | undefined): Promise<string> {
  const code = ['qemu.ts', 'moment.ts'].map((file) => readFileSync(join(SANDBOX_FOLDER, file)));
  const processor = accelerator === 'kvm' ? (cpus()[0]?.model ?? '') : '';
  const script = state === undefined ? '' : readState(state);
  const parts = [await readQemuVersion(), accelerator, processor, script, ...code];
  return digest(...parts).slice(0, 12);
}

async function makeMoment(
  work: string,
  image: Image,
  accelerator: Accelerator,
  clean: Moment | undefined,
  state: string | undefined,
  say: Say,
): Promise<void> {
  const began = Date.now();
  say(state === undefined ? 'booting the host, once' : `breaking a host into '${state}', once`);
  const sockets = socketFolder(work);
  const { disk, ram, device } = openMoment(work);
  const options: Launch = {
    image,
    accelerator,
    disk,
    ram: { file: ram, changes: 'write' },
    incoming: clean !== undefined,
    monitorPath: join(sockets, 'qmp'),
    pidPath: join(work, 'pid'),
    consolePath: join(work, 'console.log'),
  };
  // Relative, so that the cache may be moved: moments/<name>/disk.qcow2.
  await makeOverlay(
    clean
      ? join('..', clean.folder.split('/').pop() ?? '', 'disk.qcow2')
      : '../../image/disk.qcow2',
    disk,
  );
  if (clean) await execute('cp', ['--sparse=always', '--reflink=auto', clean.ram, ram]);
  const pid = await launch(options);
  try {
    const port = await withMonitor(options.monitorPath, async (monitor) => {
      if (clean) await loadState(monitor, clean.device);
      const port = await forwardPort(monitor, portCandidates(work), 22);
      if (clean) await monitor.ask('cont');
      return port;
    });
    const knownHostsPath = join(work, 'known_hosts');
    writeKnownHosts(image, { host: LOOPBACK, sshPort: port }, knownHostsPath);
    const target: Target = {
      host: LOOPBACK,
      port,
      keyPath: image.keyPath,
      knownHostsPath,
      socketFolder: sockets,
      generation: pid,
    };
    if (clean) {
      await connectAndSetClock(target);
    } else {
      await waitForLogin(target, BOOT_SECONDS);
      await runOver(target, 'root', 'own', SETTLE, { timeoutSeconds: BOOT_SECONDS });
    }
    if (state !== undefined) {
      await applyState(target, state);
      await runOver(target, 'root', 'shared', 'sync', {});
    }
    await closeShared(target);
    await sleep(2); // the session that just ended is still being put away in there
    await saveState(options.monitorPath, device);
  } catch (error) {
    const lines = readFileSync(options.consolePath, 'utf8').trim().split('\n').slice(-8);
    throw new SandboxError(
      `${error instanceof Error ? error.message : error}\n  the host's console ends with:\n    ${lines.join('\n    ')}`,
    );
  } finally {
    await quitQemu(pid, options.monitorPath);
    rmSync(sockets, { recursive: true, force: true });
  }
  for (const name of ['pid', 'known_hosts']) rmSync(join(work, name), { force: true });
  say(`${state ?? 'the host'} is saved (${Math.round((Date.now() - began) / 1000)} s)`);
}

/** Everything is up, and what a test is going to need has been read from the disk once. */
const SETTLE = `
  state=$(systemctl is-system-running --wait)
  if [ "$state" != running ]; then systemctl --failed --no-legend; exit 1; fi
  for i in $(seq 60); do curl -sf http://127.0.0.1/api/health >/dev/null && break; sleep 1; done
  curl -sSf http://127.0.0.1/api/health || exit 1
  curl -s -X POST http://127.0.0.1/api/batch # refused, once Celery is loaded
  redis-cli ping && celery --version && sudo -u deploy sudo -n python3 -I -S -c 'import json, zlib, sqlite3'
  sync
`;
