import type { FileSystemRoom } from '../../model/facts/host.ts';
import { formatBytes } from '../../model/quantities.ts';
import { MiB } from '../../model/units.ts';
import {
  type CheckModule,
  checkOf,
  doubtful,
  fine,
  type Remark,
  unclear,
  unknownCheck,
  wrong,
} from '../check.ts';
import { latest } from '../evidence.ts';

const fullShare = 0.95;
const nearlyFullShare = 0.9;
/** So much is enough for hours, however large the disk is. */
const plentyBytes = 10 * 1024 * MiB;

/** Room on every file system that the app writes to. */
export const disk: CheckModule = {
  id: 'disk',
  title: 'disk space',
  proves:
    "No file system that the app writes to (its folder and those below it, folders of its unit, of the job database, /tmp, /var, brokers and databases on this host) is more than 95 % full, in bytes with less than 10 GiB left, or in inodes. Bytes that only root may use don't count.",
  doesNotProve: 'That quotas allow the app to use it. Network file systems are not checked.',
  judge(seen) {
    const { room } = latest(seen);
    if (room.length === 0) return unknownCheck(disk, 'no file system is known');
    return checkOf(
      disk,
      room.map((each) => judgeRoom(each)),
    );
  },
};

function judgeRoom({ mountPoint, type, bytes, inodes }: FileSystemRoom): Remark {
  if (bytes === null) return unclear(`${mountPoint} is on ${type}: not checked`);
  const used = shareOf(bytes);
  const usedInodes = inodes === null ? 0 : shareOf(inodes);
  const parts = [`${mountPoint} ${percent(used)} full, ${formatBytes(bytes.free)} free`];
  if (usedInodes > nearlyFullShare) parts.push(`${percent(usedInodes)} of its inodes used`);
  const seen = parts.join(', ');
  const next = `free up space on ${mountPoint}`;
  if ((used > fullShare && bytes.free < plentyBytes) || usedInodes > fullShare) {
    return wrong(seen, `at most ${percent(fullShare)} of ${mountPoint} used`, next);
  }
  if (used > nearlyFullShare || usedInodes > nearlyFullShare) {
    return doubtful(seen, `at most ${percent(nearlyFullShare)} of ${mountPoint} used`, next);
  }
  return fine(seen);
}

function shareOf({ used, free }: { readonly used: number; readonly free: number }): number {
  return used + free === 0 ? 0 : used / (used + free);
}

/** Rounded down: 95.9 % is more than 95 %, and 100 % is full. */
const percent = (share: number): string => `${Math.floor(share * 1000) / 10} %`;
