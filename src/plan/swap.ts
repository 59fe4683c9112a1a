import type { ProvisionDesired } from '../config/provision-desired.ts';
import { ConfigError } from '../model/errors.ts';
import type { FileFact, SwapFact } from '../model/facts/host.ts';
import type { FactQuery, FactsFor } from '../model/facts.ts';
import type { SwapFileMaking } from '../model/operation/host.ts';
import type { Finding, Operation, Plan } from '../model/operation.ts';
import { formatBytes } from '../model/quantities.ts';
import { type Bytes, bytes, MiB } from '../model/units.ts';
import { planSwappiness, sysctlFile } from './swappiness.ts';
import { unifiedDiff } from './text-diff.ts';

/** Must stay free on the file system, so that swap never fills it. */
const diskReserveBytes: Bytes = bytes(512 * MiB);

/**
 * The file systems that support swap files, and how to create one there (swapon(8)). Except on ext4
 * and XFS, blocks reserved by fallocate count as holes; on ZFS swap deadlocks.
 */
const swappable: Readonly<Record<string, SwapFileMaking>> = {
  ext2: { fill: 'write', nocow: false },
  ext3: { fill: 'write', nocow: false },
  ext4: { fill: 'allocate', nocow: false },
  xfs: { fill: 'allocate', nocow: false },
  btrfs: { fill: 'write', nocow: true },
  f2fs: { fill: 'write', nocow: false },
  jfs: { fill: 'write', nocow: false },
};

export function provisionQuery(desired: ProvisionDesired) {
  return {
    host: {},
    swap: { path: desired.path },
    sysctl: { names: ['vm.swappiness'] },
    files: { paths: [sysctlFile, folderOf(desired.path)] },
  } as const satisfies FactQuery;
}

const folderOf = (path: string): string => path.slice(0, path.lastIndexOf('/')) || '/';

export type ProvisionFacts = FactsFor<ReturnType<typeof provisionQuery>>;

/**
 * Plans the swap of a host: file, activation, fstab and swappiness, each checked separately, so that
 * every unfinished state converges.
 *
 * @throws ConfigError when the path, the disk or the file system does not allow it
 */
export function planProvision(facts: ProvisionFacts, desired: ProvisionDesired): Plan {
  const operations: Operation[] = [];
  const satisfied: string[] = [];
  const findings: Finding[] = [];
  const unmet: string[] = [];
  const { container } = facts.host;
  if (container === null) {
    planSwapFile(facts, desired, operations, satisfied);
    planFstab(facts.swap, desired, operations, satisfied);
    findings.push(...otherSwap(facts.swap, desired));
  } else {
    unmet.push('swap');
    findings.push({
      level: 'warning',
      lasting: true,
      message: `swap: skipped: this is a container (${container}), and only its host can turn swap on. Ask the provider for swap, or use a virtual machine.`,
    });
  }
  planSwappiness(facts, desired.swappiness, { operations, satisfied, findings, unmet });
  return { operations, satisfied, findings, ...(unmet.length > 0 && { unmet }) };
}

function planSwapFile(
  facts: ProvisionFacts,
  desired: ProvisionDesired,
  operations: Operation[],
  satisfied: string[],
): void {
  const { swap, files } = facts;
  const { file } = swap;
  const { path, sizeBytes } = desired;
  const active = swap.active.find((area) => area.path === path);
  const size = formatBytes(sizeBytes);
  if (file.kind === 'symlink' || file.kind === 'other') {
    const what = file.kind === 'symlink' ? `a link to ${file.target}` : `a ${file.what}`;
    throw new ConfigError(
      'input swap-path',
      `${path} is ${what}`,
      'a path with no file, or with a swap file',
    );
  }
  if (file.kind === 'file' && !file.formatted && !file.blank && active === undefined) {
    throw new ConfigError(
      'input swap-path',
      `${path} contains data that is not swap`,
      'no file, or a swap file: move it away or choose another path',
    );
  }
  const filesystem = swappable[swap.filesystem.type];
  const made = whyMake(file, sizeBytes, filesystem?.nocow ?? false);
  if (made !== null) {
    checkFolder(files[folderOf(path)], folderOf(path));
    const making = requireFilesystem(swap, desired);
    if (active !== undefined) {
      requireMemory(facts, active, desired);
      operations.push({
        op: 'swap-off',
        path,
        title: `turn off swap at ${path}`,
        why: `it is in use, and ${made}`,
      });
    }
    operations.push({
      op: 'make-swap',
      path,
      sizeBytes,
      filesystem: swap.filesystem.type,
      ...making,
      title: `create a swap file of ${size} at ${path}`,
      why: made,
    });
  } else if (file.kind === 'file' && (file.mode !== '0600' || file.owner !== 'root')) {
    operations.push({
      op: 'set-mode',
      path,
      mode: '0600',
      owner: 'root',
      title: `let only root read ${path}`,
      why: `its mode is ${file.mode} and its owner ${file.owner}, and swap holds what memory held`,
    });
  }
  if (active === undefined || made !== null) {
    const why = active === undefined ? 'it is not active' : 'it was turned off for this change';
    operations.push({ op: 'swap-on', path, title: `turn on swap at ${path}`, why });
  } else {
    satisfied.push(`swap: ${size} at ${path}, priority ${active.priority}`);
  }
}

function whyMake(file: SwapFact['file'], sizeBytes: Bytes, nocow: boolean): string | null {
  if (file.kind !== 'file') {
    return 'there is none';
  }
  if (file.sizeBytes !== sizeBytes) {
    return `its size is ${formatBytes(file.sizeBytes)}, not ${formatBytes(sizeBytes)}`;
  }
  if (nocow && file.nocow === false) {
    return 'the file is copied on write, which a swap file must not be';
  }
  if (!file.formatted) {
    return 'the file is not formatted as swap';
  }
  return file.allocatedBytes < file.sizeBytes
    ? 'the file has holes, which a swap file must not have'
    : null;
}

function checkFolder(folder: FileFact | undefined, path: string): void {
  if (folder?.kind !== 'absent' && folder?.kind !== 'file') return;
  throw new ConfigError(
    'input swap-path',
    folder.kind === 'absent' ? `folder ${path} does not exist` : `${path} is a file, not a folder`,
    'a path in an existing folder',
  );
}

function requireFilesystem(swap: SwapFact, desired: ProvisionDesired): SwapFileMaking {
  const { filesystem } = swap;
  const making = swappable[filesystem.type];
  if (making === undefined) {
    throw new ConfigError(
      'input swap-path',
      `${desired.path} is on ${filesystem.type} (${filesystem.mountPoint}), which cannot hold a swap file`,
      `a path on ${Object.keys(swappable).join(', ')}`,
    );
  }
  // What the present file holds is used again: it grows or shrinks where it is, or goes first.
  const held = swap.file.kind === 'file' ? swap.file.allocatedBytes : 0;
  const missing = desired.sizeBytes - held;
  if (missing > 0 && filesystem.freeBytes < missing + diskReserveBytes) {
    const most = Math.floor((filesystem.freeBytes + held - diskReserveBytes) / MiB);
    const counted = held > 0 ? `, the current file uses ${formatBytes(bytes(held))}` : '';
    throw new ConfigError(
      'input swap-size',
      `${formatBytes(desired.sizeBytes)} of swap does not fit on ${filesystem.mountPoint}: ${formatBytes(filesystem.freeBytes)} of ${formatBytes(filesystem.sizeBytes)} are free${counted}, and ${formatBytes(diskReserveBytes)} must stay free`,
      most > 0 ? `at most ${most}M` : 'more free space: no size fits now',
    );
  }
  return making;
}

/** To change a file in use, all that was swapped out must fit into memory for a moment. */
function requireMemory(
  { host: { memory } }: ProvisionFacts,
  { usedBytes }: SwapFact['active'][number],
  { path }: ProvisionDesired,
): void {
  if (usedBytes <= memory.availableBytes) return;
  throw new ConfigError(
    'input swap-size',
    `the swap at ${path} cannot be turned off to change it: it holds ${formatBytes(usedBytes)}, and only ${formatBytes(memory.availableBytes)} of memory are available`,
    'the current size, or more available memory: run this again when less is in use',
  );
}

/** The entries of fstab(5) for this path, without comments. */
function isEntryFor(path: string, line: string): boolean {
  return line.trim().split(/\s+/)[0] === path;
}

function isGoodEntry(line: string): boolean {
  const [, , type, options = ''] = line.trim().split(/\s+/);
  return type === 'swap' && !options.split(',').includes('noauto');
}

function planFstab(
  swap: SwapFact,
  desired: ProvisionDesired,
  operations: Operation[],
  satisfied: string[],
): void {
  const { fstab } = swap;
  if (
    fstab.kind === 'symlink' ||
    fstab.kind === 'other' ||
    (fstab.kind === 'file' && fstab.text === null)
  ) {
    throw new ConfigError('host', '/etc/fstab is not a regular text file', 'a regular file');
  }
  const before = fstab.kind === 'file' ? (fstab.text ?? '') : null;
  const lines = (before ?? '').split('\n');
  const entries = lines.filter((line) => isEntryFor(desired.path, line));
  const [first] = entries;
  if (entries.length === 1 && first !== undefined && isGoodEntry(first)) {
    satisfied.push(`fstab: ${first.trim().replace(/\s+/g, ' ')}`);
    return;
  }
  const text = withOneEntry(lines, desired.path);
  operations.push({
    op: 'write-file',
    path: '/etc/fstab',
    text,
    mode: fstab.kind === 'file' ? fstab.mode : '0644',
    expects: fstab.kind === 'file' ? fstab.sha256 : null,
    title: `keep swap after a reboot: one line for ${desired.path} in /etc/fstab`,
    why: whyEntry(entries),
    diff: unifiedDiff('/etc/fstab', before, text),
  });
}

function whyEntry(entries: readonly string[]): string {
  if (entries.length === 0) {
    return 'there is none';
  }
  return entries.length === 1
    ? 'its entry does not turn it on'
    : `there are ${entries.length} entries for it`;
}

/** The lines with exactly one entry for the path: in place of its first entry, or at the end. */
function withOneEntry(lines: readonly string[], path: string): string {
  const entry = entryOf(
    lines.filter((line) => isEntryFor(path, line)),
    path,
  );
  const at = lines.findIndex((line) => isEntryFor(path, line));
  const kept = lines.flatMap((line, index) => {
    if (index === at) {
      return [entry];
    }
    return isEntryFor(path, line) ? [] : [line];
  });
  if (at === -1) {
    const end = kept.at(-1) === '' ? kept.length - 1 : kept.length;
    kept.splice(end, 0, entry);
  }
  const text = kept.join('\n');
  return text.endsWith('\n') ? text : `${text}\n`;
}

const optionsOf = (line: string): readonly string[] =>
  (line.trim().split(/\s+/)[3] ?? '').split(',').filter((option) => option !== '');

/** Options that mean no more than the line itself. */
const plainOptions = ['sw', 'defaults'];

/** The entry to keep: a good one as it is written, rather one with options of its own. */
function entryOf(entries: readonly string[], path: string): string {
  const hasOwn = (line: string): boolean =>
    optionsOf(line).some((option) => !plainOptions.includes(option));
  const good = entries.filter(isGoodEntry);
  const chosen = good.find(hasOwn) ?? good[0];
  if (chosen !== undefined) return chosen;
  const swapEntry = entries.find((line) => line.trim().split(/\s+/)[2] === 'swap') ?? '';
  const options = optionsOf(swapEntry).filter((option) => option !== 'noauto');
  return `${path} none swap ${options.join(',') || 'sw'} 0 0`;
}

function otherSwap(swap: SwapFact, desired: ProvisionDesired): Finding[] {
  return swap.active
    .filter((area) => area.path !== desired.path)
    .map((area) => ({
      level: 'notice',
      lasting: true,
      message: `swap: ${formatBytes(area.sizeBytes)} also active at ${area.path} (${area.type}); left unchanged`,
    }));
}
