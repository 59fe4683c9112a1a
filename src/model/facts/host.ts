import type { Bytes, EpochSeconds, Seconds, Sha256 } from '../units.ts';

export interface HostFact {
  readonly os: { readonly id: string; readonly versionId: string; readonly name: string };
  readonly kernel: string;
  /** systemd's major version, e.g. 252. */
  readonly systemd: number;
  /** `systemd-detect-virt -c`: `lxc`, `openvz`, `docker`…; `null` outside a container. */
  readonly container: string | null;
  readonly cgroupVersion: 1 | 2;
  readonly cpus: number;
  readonly memory: MemoryFact;
  readonly now: EpochSeconds;
  readonly bootId: string;
  readonly uptime: Seconds;
  /** The clock of systemd's `…TimestampMonotonic`: nobody sets it, and it stops in suspend. */
  readonly monotonic: Seconds;
  readonly hostname: string;
  readonly python: string;
}

/** `/proc/meminfo`. */
export interface MemoryFact {
  readonly totalBytes: Bytes;
  readonly availableBytes: Bytes;
  readonly swapTotalBytes: Bytes;
  readonly swapFreeBytes: Bytes;
}

export type FileFact =
  | { readonly kind: 'absent' }
  | {
      readonly kind: 'file';
      /** `null` when larger than 1 MiB or not UTF-8. */
      readonly text: string | null;
      readonly sha256: Sha256;
      readonly sizeBytes: Bytes;
      /** Four octal digits, `0644`. */
      readonly mode: string;
      readonly owner: string;
      readonly group: string;
    }
  | { readonly kind: 'symlink'; readonly target: string }
  | { readonly kind: 'other'; readonly what: string };

export interface SwapFact {
  readonly file:
    | { readonly kind: 'absent' }
    | {
        readonly kind: 'file';
        readonly sizeBytes: Bytes;
        /** Bytes allocated on the disk; less than the size if the file has holes. */
        readonly allocatedBytes: Bytes;
        readonly mode: string;
        readonly owner: string;
        /** Its first page ends with `SWAPSPACE2`. */
        readonly formatted: boolean;
        /** Not formatted, and only zeros in its first and last MiB: an unfinished swap file. */
        readonly blank: boolean;
        /** Copy-on-write is off for it (`chattr +C`); `null`: the file system does not tell. */
        readonly nocow?: boolean | null;
      }
    | { readonly kind: 'symlink'; readonly target: string }
    | { readonly kind: 'other'; readonly what: string };
  readonly active: readonly {
    readonly path: string;
    readonly type: string;
    readonly sizeBytes: Bytes;
    readonly usedBytes: Bytes;
    readonly priority: number;
  }[];
  readonly fstab: FileFact;
  /** Units that swap.target starts, e.g. `swapfile.swap`; absent: unknown. */
  readonly enabledUnits?: readonly string[];
  /** The file system of the swap file, or of the folder in which it would be created. */
  readonly filesystem: {
    readonly type: string;
    readonly mountPoint: string;
    readonly sizeBytes: Bytes;
    readonly freeBytes: Bytes;
  };
}

export interface SysctlFact {
  /** The current value; `null`: the kernel has no such setting. */
  readonly values: Readonly<Record<string, string | null>>;
  /** Settings that root cannot change here, because they belong to the host of this container. */
  readonly readOnly: readonly string[];
  /** Lines that set one of the names, in the order in which systemd-sysctl applies them. */
  readonly settings: readonly {
    readonly name: string;
    readonly value: string;
    readonly path: string;
    readonly line: number;
  }[];
}

/** Pressure Stall Information of the kernel. */
export interface PressureFact {
  /** In a container, of the machine that it runs on. */
  readonly machine: Stalls;
  readonly unit: Stalls;
}

/** `null`: the kernel does not measure it, or the unit does not run. */
export interface Stalls {
  readonly memory: Stall | null;
  readonly io: Stall | null;
}

/** Time in which some, or all, processes waited. */
export interface Stall {
  readonly some: StallShares;
  readonly full: StallShares;
}

/** Percent of the last 10, 60 and 300 s. */
export interface StallShares {
  readonly avg10: number;
  readonly avg60: number;
  readonly avg300: number;
}

export interface FileSystemRoom {
  readonly mountPoint: string;
  readonly type: string;
  /** `free`: for users other than root. `null`: not asked, as it may wait for a network. */
  readonly bytes: { readonly used: Bytes; readonly free: Bytes } | null;
  /** `null`: not counted by this file system. */
  readonly inodes: { readonly used: number; readonly free: number } | null;
}
