import type { FileFact, SwapFact, SysctlFact } from '../../model/facts/host.ts';
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

type Area = SwapFact['active'][number];

const expected = 'swap that is also there after a reboot';
/** Sources of fstab(5) that name no path of a device as `/proc/swaps` does. */
const byAnotherName = /^(?:(?:PART)?(?:UUID|LABEL)=|\/dev\/(?:disk|mapper)\/)/;
const writeLine =
  'write a line for it to /etc/fstab, unless a program (such as dphys-swapfile) enables it at boot';
/** Where provision makes its own, unless `swap-path` says otherwise. */
const ownPath = '/swapfile';
const defaultSwappiness = '60';

/** Whether the active swap, and its swappiness, outlive a reboot. */
export const swapBoot: CheckModule = {
  id: 'swap-boot',
  title: 'swap after a reboot',
  proves:
    'Each active swap file is in /etc/fstab or a unit of swap.target, and a file of sysctl.d sets the current swappiness.',
  doesNotProve:
    'That the fstab line for a partition, which may name it differently, is right. It fails only for `/swapfile`, with `swap-size` set: others may be enabled by a program at boot.',
  judge(seen, { swapBytes }) {
    const { swap, sysctl, host } = latest(seen);
    // The check `swap` says that there is none.
    if (swap.active.length === 0) return [];
    if (host.container !== null) {
      const why = `in a container (${host.container}), only its host keeps swap`;
      return unknownCheck(swapBoot, why);
    }
    const entries = entriesOf(swap.fstab);
    if (entries === null) return unknownCheck(swapBoot, '/etc/fstab is not a regular text file');
    const isWanted = swapBytes !== null;
    const remarks = swap.active.map((area) => judgeArea(area, { entries, swap, isWanted }));
    return checkOf(swapBoot, [...remarks, ...judgeSwappiness(sysctl)]);
  },
};

interface Entry {
  readonly source: string;
  readonly automatic: boolean;
}

/** The swap in fstab(5); `null`: it cannot be read. */
function entriesOf(fstab: FileFact): readonly Entry[] | null {
  if (fstab.kind === 'absent') return [];
  if (fstab.kind !== 'file' || fstab.text === null) return null;
  return fstab.text.split('\n').flatMap((line) => {
    const [source = '#', , type, options = ''] = line.trim().split(/\s+/);
    if (source.startsWith('#') || type !== 'swap') return [];
    const automatic = !options.split(',').includes('noauto');
    return [{ source: source.replaceAll('\\040', ' '), automatic }];
  });
}

interface Around {
  readonly entries: readonly Entry[];
  readonly swap: SwapFact;
  /** Verify was asked to require swap. */
  readonly isWanted: boolean;
}

function judgeArea({ path, type }: Area, { entries, swap, isWanted }: Around): Remark {
  if (path.startsWith('/dev/zram')) return unclear(`${path} is created at each boot`);
  const own = entries.filter(({ source }) => source === path);
  if (own.some(({ automatic }) => automatic)) return fine(`${path} is in /etc/fstab`);
  if (swap.enabledUnits?.includes(unitOf(path))) return fine(`${path} is in ${unitOf(path)}`);
  const seen = own.length > 0 ? `${path} has noauto in /etc/fstab` : `${path} is not in /etc/fstab`;
  if (own.length > 0 || type !== 'partition') {
    if (path !== ownPath) return doubtful(seen, expected, writeLine);
    const remark = isWanted && !mayBeLinked(entries, swap) ? wrong : doubtful;
    return remark(seen, expected, 'run provision, which writes the line');
  }
  const other = entries.find(({ source, automatic }) => automatic && byAnotherName.test(source));
  if (other !== undefined) return fine(`${path} is in /etc/fstab, as ${other.source}`);
  const said = `${seen}; systemd finds it only by the type of the partition`;
  return doubtful(said, expected, 'write a line for it');
}

/** A line of fstab may name a link; the kernel tells only where it leads. */
function mayBeLinked(entries: readonly Entry[], { active }: SwapFact): boolean {
  return entries.some(
    ({ source, automatic }) => automatic && !active.some(({ path }) => path === source),
  );
}

/** `/swap/file 1` → `swap-file\x201.swap`, as systemd-escape(1) does. */
function unitOf(path: string): string {
  const name = path
    .replace(/^\/+/, '')
    .replace(/^\.|[^A-Za-z0-9:_./]/g, (sign) =>
      [...new TextEncoder().encode(sign)]
        .map((byte) => `\\x${byte.toString(16).padStart(2, '0')}`)
        .join(''),
    )
    .replaceAll('/', '-');
  return `${name}.swap`;
}

function judgeSwappiness({ values, readOnly, settings }: SysctlFact): readonly Remark[] {
  const name = 'vm.swappiness';
  const now = values[name] ?? null;
  if (now === null || readOnly.includes(name)) return [];
  const last = settings.filter((setting) => setting.name === name).at(-1);
  const next = 'run provision, which writes it to a file of sysctl.d';
  const wanted = 'the same swappiness after a reboot';
  if (last === undefined) {
    if (now === defaultSwappiness) return [fine(`swappiness ${now}, the default`)];
    return [doubtful(`swappiness ${now} until the next reboot: no file sets it`, wanted, next)];
  }
  const where = `${last.path}:${last.line}`;
  if (last.value === now) return [fine(`swappiness ${now} (${where})`)];
  const seen = `swappiness ${now} until the next reboot, then ${last.value} (${where})`;
  return [doubtful(seen, wanted, next)];
}
