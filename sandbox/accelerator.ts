import { accessSync, constants, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execute } from './command.ts';
import { cacheFolder } from './folders.ts';

/** How QEMU runs the guest's code: on the processor, or by translation. */
export type Accelerator = 'kvm' | 'tcg';

export const QEMU = 'qemu-system-x86_64';
export const QEMU_MISSING = `${QEMU} is not installed (package qemu-system-x86)`;

const PROBE_SECONDS = 5;
const PROBE_EXIT = 33;

/**
 * KVM if it really works. A /dev/kvm that opens proves little: some nested hosts have one that never
 * runs an instruction. So a guest is run for a test, once per boot of this machine.
 */
export async function chooseAccelerator(): Promise<Accelerator> {
  try {
    accessSync('/dev/kvm', constants.R_OK | constants.W_OK);
  } catch {
    return 'tcg';
  }
  const bootId = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  const path = join(cacheFolder(), 'accelerator.json');
  const known = readAnswer(path);
  if (known?.bootId === bootId) return known.accelerator;
  const accelerator = (await runsGuests('kvm')) ? 'kvm' : 'tcg';
  writeFileSync(path, `${JSON.stringify({ bootId, accelerator })}\n`);
  return accelerator;
}

function readAnswer(path: string): { bootId: string; accelerator: Accelerator } | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    return undefined;
  }
}

/** Runs a guest that counts for a while and then makes QEMU exit with a given code. */
async function runsGuests(accelerator: Accelerator): Promise<boolean> {
  const folder = mkdtempSync(join(tmpdir(), 'celeriac-probe-'));
  try {
    const sector = join(folder, 'sector');
    writeFileSync(sector, bootSector());
    const { code } = await execute(
      QEMU,
      [
        ...['-accel', accelerator, '-machine', 'pc', '-m', '16', '-nodefaults', '-display', 'none'],
        ...['-device', 'isa-debug-exit,iobase=0xf4,iosize=0x04', '-no-reboot'],
        ...['-drive', `file=${sector},format=raw,if=ide`],
      ],
      { allowFailure: true, timeoutSeconds: PROBE_SECONDS, missing: QEMU_MISSING },
    );
    return code === PROBE_EXIT;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function bootSector(): Buffer {
  const sector = Buffer.alloc(512);
  Buffer.from([
    0xfa, //                               cli
    0x66,
    0xb9,
    0xff,
    0xff,
    0xff,
    0x03, // mov ecx, 0x03ffffff
    0x66,
    0x49, //                         dec ecx
    0x75,
    0xfc, //                         jnz -4
    0xb0,
    0x10, //                         mov al, 0x10
    0xe6,
    0xf4, //                         out 0xf4, al: exit code (0x10 << 1) | 1
    0xf4,
    0xeb,
    0xfd, //                   hlt; jmp -3
  ]).copy(sector);
  sector.writeUInt16LE(0xaa55, 510);
  return sector;
}
