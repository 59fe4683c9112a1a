import { z } from 'zod/mini';
import type {
  FileFact,
  FileSystemRoom,
  HostFact,
  PressureFact,
  SwapFact,
  SysctlFact,
} from '../../model/facts/host.ts';
import type { SettingsFact } from '../../model/facts/ledger.ts';
import type { FactAnswers } from '../../model/facts.ts';
import { bytes, epochSeconds, seconds, sha256, shapeOf, text, texts } from './shape.ts';

export const hostShape = shapeOf<HostFact>()(
  z.object({
    os: z.object({ id: text, versionId: text, name: text }),
    kernel: text,
    systemd: z.number(),
    container: z.nullable(text),
    cgroupVersion: z.literal([1, 2]),
    cpus: z.number(),
    memory: z.object({
      totalBytes: bytes,
      availableBytes: bytes,
      swapTotalBytes: bytes,
      swapFreeBytes: bytes,
    }),
    now: epochSeconds,
    bootId: text,
    uptime: seconds,
    monotonic: seconds,
    hostname: text,
    python: text,
  }),
);

/** Anything but a regular file. */
export const noFile = [
  z.object({ kind: z.literal('absent') }),
  z.object({ kind: z.literal('symlink'), target: text }),
  z.object({ kind: z.literal('other'), what: text }),
] as const;

export const fileShape = shapeOf<FileFact>()(
  z.discriminatedUnion('kind', [
    z.object({
      kind: z.literal('file'),
      text: z.nullable(text),
      sha256,
      sizeBytes: bytes,
      mode: text,
      owner: text,
      group: text,
    }),
    ...noFile,
  ]),
);

export const filesShape = shapeOf<FactAnswers['files']>()(z.record(text, fileShape));

export const swapShape = shapeOf<SwapFact>()(
  z.object({
    file: z.discriminatedUnion('kind', [
      z.object({
        kind: z.literal('file'),
        sizeBytes: bytes,
        allocatedBytes: bytes,
        mode: text,
        owner: text,
        formatted: z.boolean(),
        blank: z.boolean(),
        nocow: z.exactOptional(z.nullable(z.boolean())),
      }),
      ...noFile,
    ]),
    active: z.array(
      z.object({
        path: text,
        type: text,
        sizeBytes: bytes,
        usedBytes: bytes,
        priority: z.number(),
      }),
    ),
    fstab: fileShape,
    enabledUnits: z.exactOptional(texts),
    filesystem: z.object({ type: text, mountPoint: text, sizeBytes: bytes, freeBytes: bytes }),
  }),
);

export const sysctlShape = shapeOf<SysctlFact>()(
  z.object({
    values: z.record(text, z.nullable(text)),
    readOnly: texts,
    settings: z.array(z.object({ name: text, value: text, path: text, line: z.number() })),
  }),
);

export const settingsShape = shapeOf<SettingsFact | null>()(
  z.nullable(z.object({ transaction: text, properties: z.record(text, text) })),
);

export const roomShape = shapeOf<readonly FileSystemRoom[]>()(
  z.array(
    z.object({
      mountPoint: text,
      type: text,
      bytes: z.nullable(z.object({ used: bytes, free: bytes })),
      inodes: z.nullable(z.object({ used: z.number(), free: z.number() })),
    }),
  ),
);

const shares = z.object({ avg10: z.number(), avg60: z.number(), avg300: z.number() });
const stall = z.nullable(z.object({ some: shares, full: shares }));
const stalls = z.object({ memory: stall, io: stall });

export const pressureShape = shapeOf<PressureFact>()(z.object({ machine: stalls, unit: stalls }));
