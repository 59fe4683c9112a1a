import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmdirSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openGitCode } from '../../../../src/adapters/git-code.ts';
import { bytes, sha256Text } from '../../../../src/model/units.ts';
import type { Parcel } from '../../../../src/ports/code.ts';
import { Repositories } from './repositories.ts';

/** The app's user is that of the tests. */
const APP = { user: userInfo().username };

let all: Repositories;
let base: string;

beforeEach(() => {
  all = new Repositories();
  base = join(all.folder, 'srv');
  mkdirSync(base);
});
afterEach(() => all[Symbol.dispose]());

const SHARED = [
  { path: 'backend/jobs.db', folder: false },
  { path: 'uploads', folder: true },
];
const UNPACK = 'operations.unpack_release';
const SWITCH = 'operations.switch_release';
const PRUNE = 'operations.prune_releases';

const unpacking = (commit: string, sha256: string, shared: object = []) => ({
  ...APP,
  deployTo: base,
  commit,
  sha256,
  shared,
});

function parcelOf(content: Buffer): Parcel {
  const sha256 = sha256Text(createHash('sha256').update(content).digest('hex'));
  return { title: 'the archive', content, sha256, sizeBytes: bytes(content.length) };
}

describe('a code folder', () => {
  let commit: string;
  let parcel: Parcel;
  beforeEach(async () => {
    commit = all.commit(all.origin, 'first', {
      'backend/app.py': 'one\n',
      'backend/run.sh': '#!/bin/sh\n',
      'uploads/.gitkeep': '',
    });
    chmodSync(join(all.origin, 'backend/run.sh'), 0o755);
    symlinkSync('backend/app.py', join(all.origin, 'main.py'));
    commit = all.commit(all.origin, 'second', {});
    parcel = await openGitCode(all.origin).archive(commit);
    all.store(parcel);
  });

  test('is unpacked completely, with its shared paths, and removed by the undo', () => {
    mkdirSync(join(base, 'shared/backend'), { recursive: true });
    writeFileSync(join(base, 'shared/backend/jobs.db'), 'rows');
    const args = unpacking(commit, parcel.sha256, SHARED);
    expect(all.must(UNPACK, 'check', args)).toBe(false);
    all.must(UNPACK, 'do', args);
    expect(all.must(UNPACK, 'check', args)).toBe(true);
    const release = join(base, 'releases', commit);
    expect(readFileSync(join(release, 'main.py'), 'utf8')).toBe('one\n');
    expect(statSync(join(release, 'backend/run.sh')).mode & 0o777).toBe(0o755);
    expect(statSync(join(release, 'backend/app.py')).mode & 0o777).toBe(0o644);
    expect(readFileSync(join(release, 'backend/jobs.db'), 'utf8')).toBe('rows');
    expect(readlinkSync(join(release, 'uploads'))).toBe('../../shared/uploads');
    writeFileSync(join(release, 'uploads/photo'), 'p');
    for (const _ of ['once', 'twice']) {
      expect(all.must(UNPACK, 'undo', args)).toBe(`${release} removed again`);
      expect(existsSync(release)).toBe(false);
    }
    expect(readdirSync(join(base, 'shared/uploads'))).toEqual(['photo']);
    expect(readFileSync(join(base, 'shared/backend/jobs.db'), 'utf8')).toBe('rows');
  });

  test('that lacks a shared file is refused and removed', () => {
    const args = unpacking(commit, parcel.sha256, SHARED);
    expect(all.refusal(UNPACK, 'do', args)).toContain(
      `${base}/shared/backend/jobs.db does not exist`,
    );
    expect(readdirSync(join(base, 'releases'))).toEqual([]);
  });

  test('that was left unfinished by a killed process is unpacked again', () => {
    mkdirSync(join(base, `releases/.${commit}.part`), { recursive: true });
    writeFileSync(join(base, `releases/.${commit}.part/half`), 'h');
    all.must(UNPACK, 'do', unpacking(commit, parcel.sha256));
    expect(readdirSync(join(base, 'releases'))).toEqual([commit]);
    expect(existsSync(join(base, 'releases', commit, 'half'))).toBe(false);
  });

  test('becomes current in one rename, and so does the previous one', () => {
    all.must(UNPACK, 'do', unpacking(commit, parcel.sha256));
    all.begin();
    const link = join(base, 'current');
    symlinkSync('releases/20260101', link);
    mkdirSync(join(base, 'releases/20260101'));
    const args = { ...APP, deployTo: base, commit, expects: 'releases/20260101' };
    const stale = { ...args, expects: null };
    expect(all.refusal(SWITCH, 'do', stale)).toContain('when the plan was made');
    expect(all.must(SWITCH, 'check', args)).toBe(false);
    all.must(SWITCH, 'do', args);
    expect(readlinkSync(link)).toBe(`releases/${commit}`);
    expect(all.must(SWITCH, 'check', args)).toBe(true);
    for (const _ of ['once', 'twice']) {
      all.must(SWITCH, 'undo', args);
      expect(readlinkSync(link)).toBe('releases/20260101');
    }
    expect(readdirSync(base).sort()).toEqual(['current', 'releases']);
    all.must(SWITCH, 'do', args);
    rmdirSync(join(base, 'releases/20260101'));
    expect(all.refusal(SWITCH, 'undo', args)).toContain('was removed since');
    expect(readlinkSync(link)).toBe(`releases/${commit}`);
  });

  test('is the first one: the undo removes the link', () => {
    all.must(UNPACK, 'do', unpacking(commit, parcel.sha256));
    all.begin();
    const args = { ...APP, deployTo: base, commit, expects: null };
    all.must(SWITCH, 'do', args);
    all.must(SWITCH, 'undo', args);
    expect(readdirSync(base)).toEqual(['releases']);
  });

  test('is refused if `current` is not a link', () => {
    all.must(UNPACK, 'do', unpacking(commit, parcel.sha256));
    mkdirSync(join(base, 'current'));
    const args = { ...APP, deployTo: base, commit, expects: null };
    expect(all.refusal(SWITCH, 'check', args)).toContain('current is not a link');
  });
});

test('the oldest code folders are removed; the current, the previous and foreign ones stay', () => {
  const commits = [1, 2, 3, 4, 5].map((digit) => String(digit).repeat(40));
  for (const commit of commits) {
    mkdirSync(join(base, 'releases', commit), { recursive: true });
    spawnSync('sleep', ['0.02']);
  }
  mkdirSync(join(base, 'releases/by-hand'));
  const [first = '', second = '', third, , fifth] = commits;
  symlinkSync(`releases/${first}`, join(base, 'current'));
  const args = { ...APP, deployTo: base, keep: 3, spare: [first, second] };
  expect(all.must(PRUNE, 'check', args)).toBe(false);
  expect(all.must(PRUNE, 'do', args)).toBe('removed 4444444, 3333333');
  expect(readdirSync(join(base, 'releases'))).toEqual([first, second, fifth, 'by-hand']);
  expect(third).toBeDefined();
  expect(all.must(PRUNE, 'check', args)).toBe(true);
});

const HOSTILE = `
import io, sys, tarfile
out = io.BytesIO()
with tarfile.open(fileobj=out, mode='w') as archive:
    for word in sys.argv[1:]:
        name, _, target = word.partition('>')
        member = tarfile.TarInfo(name)
        if target.startswith('='):
            member.type, member.linkname = tarfile.LNKTYPE, target[1:]
        elif target == 'fifo':
            member.type = tarfile.FIFOTYPE
        elif target == 'dir':
            member.type = tarfile.DIRTYPE
        elif target:
            member.type, member.linkname = tarfile.SYMTYPE, target
        else:
            member.size = 2
            archive.addfile(member, io.BytesIO(b'x\\n'))
            continue
        archive.addfile(member)
sys.stdout.buffer.write(out.getvalue())
`;

test.each([
  { members: ['/etc/x'], says: 'is outside the release' },
  { members: ['../x'], says: 'is outside the release' },
  { members: ['a/../../x'], says: 'is outside the release' },
  { members: ['out>/etc', 'out/x'], says: 'below a path that is not a folder' },
  { members: ['a>dir', 'a/in>..', 'a/in/x'], says: 'below a path that is not a folder' },
  { members: ['link>/etc/passwd'], says: 'link link leads out of the release, to /etc/passwd' },
  { members: ['a>dir', 'a/link>../../x'], says: 'leads out of the release' },
  { members: ['x>dir', 'x/y>dir', 'x/y/s>../..', 'leap>x/y/s/../x'], says: 'leads out' },
  { members: ['hard>=/etc/passwd'], says: 'is not a file, folder or link' },
  { members: ['pipe>fifo'], says: 'is not a file, folder or link' },
  { members: ['twice', 'twice'], says: "contains 'twice' twice" },
])('an archive with $members is refused', ({ members, says }) => {
  const tar = spawnSync('python3', ['-c', HOSTILE, ...members], { maxBuffer: 1e8 });
  const parcel = parcelOf(gzipSync(tar.stdout));
  all.store(parcel);
  const args = unpacking('1'.repeat(40), parcel.sha256);
  expect(all.refusal(UNPACK, 'do', args)).toContain(says);
  expect(readdirSync(join(base, 'releases'))).toEqual([]);
  expect(all.must(UNPACK, 'undo', args)).toContain('removed again');
  expect(existsSync(join(all.folder, 'x'))).toBe(false);
});

test('a truncated archive is refused', () => {
  const tar = spawnSync(
    'python3',
    ['-c', HOSTILE, ...Array.from({ length: 400 }, (_, n) => `f${n}`)],
    {
      maxBuffer: 1e8,
    },
  );
  const parcel = parcelOf(gzipSync(tar.stdout).subarray(0, 2000));
  all.store(parcel);
  const refused = all.refusal(UNPACK, 'do', unpacking('1'.repeat(40), parcel.sha256));
  expect(refused).not.toBe('');
  expect(readdirSync(join(base, 'releases'))).toEqual([]);
});

describe('a received parcel', () => {
  const folder = () => join(all.folder, 'state-0/incoming');
  const begin = (content: Buffer, sizeBytes = content.length) => {
    const sha256 = createHash('sha256').update(content).digest('hex');
    return all.drive('session.incoming', 'receive', { step: 'begin', sha256, sizeBytes });
  };

  test('is readable only by root, and the oldest one is removed', () => {
    for (let each = 1; each <= 5; each += 1) {
      const content = Buffer.from(`content ${each}`);
      const { sha256 } = parcelOf(content);
      expect(begin(content).value).toEqual({ sizeBytes: 0, whole: false });
      writeFileSync(join(folder(), sha256), content);
      utimesSync(join(folder(), sha256), each, each);
    }
    expect(statSync(folder()).mode & 0o777).toBe(0o700);
    const again = Buffer.from('content 5');
    expect(begin(again).value).toEqual({ sizeBytes: 9, whole: true });
    const stale = ['1', '4194303'].map((pid) => join(folder(), `${'0'.repeat(64)}.${pid}.part`));
    const sending = join(folder(), `${'0'.repeat(64)}.${process.pid}.part`);
    for (const part of [...stale, sending]) writeFileSync(part, 'half');
    utimesSync(stale[0] ?? '', 1, 1);
    begin(Buffer.from('content 6'));
    const left = readdirSync(folder()).filter((name) => !name.endsWith('.part'));
    expect(left).toHaveLength(3);
    expect([...stale, sending].map((part) => existsSync(part))).toEqual([false, false, true]);
  });

  test('has a size limit, and a hash as its name', () => {
    expect(begin(Buffer.from('x'), 2 ** 30).error).toContain('the limit is');
    expect(begin(Buffer.from('x'), 0).error).toContain('the limit is');
    const wrong = all.drive('session.incoming', 'receive', {
      step: 'begin',
      sha256: '../x',
      sizeBytes: 1,
    });
    expect(wrong.error).toContain('invalid sha256');
  });
});
