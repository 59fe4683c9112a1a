import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execute } from './command.ts';
import { findDebianSources, findTransportOptions } from './debian-sources.ts';
import { defaultEdition, type Edition } from './edition.ts';
import { messageOf, SandboxError } from './failure.ts';
import { cacheFolder } from './folders.ts';
import { withLock } from './lock.ts';
import { removeTree } from './privilege.ts';
import { pruneImages, removeLeftovers } from './prune.ts';
import { hashRecipe, RECIPE_FOLDER, readList } from './recipe.ts';

/** A built image: a bootable disk and the keys to it. All in `folder`. */
export type Image = {
  folder: string;
  disk: string;
  kernel: string;
  initrd: string;
  /** The same file system as a folder, a container's lowest layer; where root built the image. */
  root: string;
  /** The private key (OpenSSH, mode 600) that root, deploy and nosudo log in with. */
  keyPath: string;
  /** The host's public keys, `type base64` each: ed25519, ecdsa, rsa. */
  hostKeys: string[];
};

/** Says what is going on, one line at a time. */
export type Say = (line: string) => void;

const DISK_SIZE = '10G';

/**
 * The image of an edition, by the recipe as it is now: from the cache, else built (about a minute and
 * a half).
 *
 * @throws SandboxError when a program or a package mirror is missing, or the build fails.
 */
export async function provideImage(say: Say, edition = defaultEdition()): Promise<Image> {
  const folder = join(edition.folder, hashRecipe(edition));
  const image = join(folder, 'image');
  if (!existsSync(image)) {
    const waiting = () => say('another process is building the image: waiting for it');
    await withLock(join(cacheFolder(), 'image.lock'), waiting, async () => {
      if (existsSync(image)) return;
      mkdirSync(folder, { recursive: true });
      removeLeftovers(folder);
      const work = mkdtempSync(join(folder, 'building-'));
      try {
        await build(work, edition, say);
        renameSync(work, image);
      } finally {
        removeTree(work);
      }
      pruneImages(folder);
    });
  }
  return openImage(folder);
}

/** An image that is in the cache. */
export function openImage(folder: string): Image {
  const image = join(folder, 'image');
  return {
    folder,
    disk: join(image, 'disk.qcow2'),
    kernel: join(image, 'vmlinuz'),
    initrd: join(image, 'initrd'),
    root: join(image, 'root'),
    keyPath: join(image, 'login_key'),
    hostKeys: readFileSync(join(image, 'host_keys'), 'utf8').trim().split('\n'),
  };
}

async function build(work: string, edition: Edition, say: Say): Promise<void> {
  if (process.arch !== 'x64') {
    throw new SandboxError(`the sandbox's image is x86-64; this machine is ${process.arch}`);
  }
  const began = Date.now();
  say(`building the image (Debian ${edition.suite}), once for this recipe: about two minutes`);
  await makeLoginKey(work);
  await installPackages(work, edition);
  say(`packages are installed; making the disk`);
  await makeDisk(work, edition);
  say(`the image is built (${Math.round((Date.now() - began) / 1000)} s)`);
}

async function makeLoginKey(work: string): Promise<void> {
  const key = join(work, 'login_key');
  await execute('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'sandbox', '-f', key], {
    missing: 'ssh-keygen is not installed (package openssh-client)',
  });
  chmodSync(key, 0o600);
}

/** Leaves the whole file system as `root.tar`. */
async function installPackages(work: string, edition: Edition): Promise<void> {
  // A namespace's root may not enter a private home folder: the recipe is read from a copy.
  const copy = mkdtempSync(join(tmpdir(), 'celeriac-recipe-'));
  try {
    chmodSync(copy, 0o755);
    cpSync(RECIPE_FOLDER, join(copy, 'recipe'), { recursive: true });
    cpSync(join(work, 'login_key.pub'), join(copy, 'login_key.pub'));
    const hook = `RECIPE='${copy}/recipe' LOGIN_KEY='${copy}/login_key.pub' sh '${copy}/recipe/customize.sh' "$1"`;
    const { complete, suite } = edition;
    // Containers have the kernel of their machine.
    const packages = readList('packages.txt').filter(
      (name) => edition.bootable || !name.startsWith('linux-image-'),
    );
    const after = complete && ['sh', complete.script].map(quote).join(' ');
    const [program = '', ...args] = [
      ...(await rootPrefix('mmdebstrap')),
      'mmdebstrap',
      '--variant=minbase',
      '--quiet',
      `--include=${[...packages, ...edition.packages].join(',')}`,
      ...(await findTransportOptions()).map((line) => `--aptopt=${line}`),
      `--essential-hook=sh '${copy}/recipe/prepare.sh' "$1"`,
      `--customize-hook=${hook}`,
      ...(after ? [`--customize-hook=${after} "$1" ${complete.args.map(quote).join(' ')}`] : []),
      '--format=tar',
      suite,
      join(work, 'root.tar'),
      '-',
    ];
    await execute(program, args, {
      input: `${(await findDebianSources(suite)).join('\n')}\n`,
      missing: 'mmdebstrap is not installed (package mmdebstrap)',
    });
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
}

async function makeDisk(work: string, edition: Edition): Promise<void> {
  const script = `
    set -eu
    cd "$1"
    root=$PWD/root
    mkdir "$root"
    tar -C "$root" -xpf root.tar --exclude='./dev/*' --warning=no-timestamp
    for type in ed25519 ecdsa rsa; do cut -d' ' -f1,2 "$root/etc/ssh/ssh_host_$type"_key.pub; done >host_keys
    if [ "$4" = bootable ]; then
      cat "$root"/boot/vmlinuz-* >vmlinuz
      cat "$root"/boot/initrd.img-* >initrd
      truncate -s ${DISK_SIZE} disk.raw
      mke2fs -q -t ext4 -m 1 -E lazy_itable_init=1 -d "$root" disk.raw
      qemu-img convert -O qcow2 disk.raw disk.qcow2
      chown "$2" vmlinuz initrd disk.qcow2
    fi
    rm -f disk.raw root.tar
    [ "$3" = keep ] || rm -rf root
    chown "$2" host_keys
  `;
  const owner = `${process.getuid?.()}:${process.getgid?.()}`;
  const prefix = await rootPrefix('mke2fs');
  const [program = '', ...args] = [
    ...prefix,
    'sh',
    '-c',
    script,
    'make-disk',
    work,
    // In a user namespace this user is the root.
    prefix[0] === 'unshare' ? '0:0' : owner,
    prefix[0] === 'unshare' ? 'drop' : 'keep',
    edition.bootable ? 'bootable' : 'folder',
  ];
  const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` };
  await execute(program, args, { env });
}

/** How to become root for a step of the build: already so, by sudo, or in a user namespace. */
async function rootPrefix(step: 'mmdebstrap' | 'mke2fs'): Promise<string[]> {
  if (process.getuid?.() === 0) return [];
  try {
    await execute('sudo', ['-n', 'true']);
    return ['sudo', '-n'];
  } catch (error) {
    // mmdebstrap makes its own namespace.
    if (step === 'mmdebstrap') return [];
    const unshare = ['unshare', '--map-root-user', '--map-auto'];
    const { code } = await execute('unshare', [...unshare.slice(1), 'true'], {
      allowFailure: true,
    });
    if (code === 0) return unshare;
    throw new SandboxError(
      `building the image needs root, 'sudo -n' or user namespaces: ${messageOf(error)}`,
    );
  }
}

/** Quotes one word of a hook's command line. */
function quote(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}

/** A private key's text, as an action takes it. */
export function readKey(image: Image): string {
  return readFileSync(image.keyPath, 'utf8');
}

/** Lines for a known_hosts file. */
export function knownHostsOf(image: Image, address: Address): string {
  const name = knownNameOf(address);
  return image.hostKeys.map((key) => `${name} ${key}\n`).join('');
}

/** How known_hosts calls a machine: the port is named where it is not SSH's own. */
export function knownNameOf({ host, sshPort }: Address): string {
  return sshPort === 22 ? host : `[${host}]:${sshPort}`;
}

/** Where a machine answers SSH. */
export type Address = { host: string; sshPort: number };

/** Writes them. */
export function writeKnownHosts(image: Image, address: Address, path: string): void {
  writeFileSync(path, knownHostsOf(image, address));
}
