import { createHash } from 'node:crypto';
import { promisify } from 'node:util';
import { deflate } from 'node:zlib';
import { type Sha256, sha256Text } from '../../model/units.ts';

/** The agent's program. */
export interface HostProgram {
  /** Which version it is: the same sources have the same. */
  readonly build: Sha256;
  /** One JSON object of path below `host/` → source. */
  readonly json: () => string;
}

/** Title of the step that starts the agent. */
export const START_STEP = 'start the agent';

export const loaderPath = 'celeriac_host/session/loader.py';

/** Where a transaction leaves the agent. */
const installedProgram = '/var/lib/celeriac/program.py';

/** The program of these modules: path below `host/` → source. */
export function programOf(modules: Readonly<Record<string, string>>): HostProgram {
  // A line for each module, for those who compare two versions.
  const json = JSON.stringify(modules, null, 1);
  return { build: buildOf(json), json: () => json };
}

const buildOf = (json: string): Sha256 =>
  sha256Text(createHash('sha256').update(json).digest('hex'));

/** One zlib-compressed JSON object of module path → source; made once for all hosts of a process. */
export async function packProgram(
  program: HostProgram,
  compress: (text: string) => Promise<Buffer> = promisify(deflate),
): Promise<Buffer> {
  const packing = packed.get(program) ?? compress(sourcesOf(program));
  packed.set(program, packing);
  try {
    return await packing;
  } catch (error) {
    // The next host of this process tries it again.
    packed.delete(program);
    throw error;
  }
}

const packed = new WeakMap<HostProgram, Promise<Buffer>>();

/**
 * Its modules as JSON. Checked, because a host would keep another version's modules under this one's name.
 *
 * @throws Error when the file beside the code is of another version
 */
export function sourcesOf(program: HostProgram): string {
  const json = program.json();
  if (buildOf(json) === program.build) return json;
  throw new Error('Celeriac was replaced by another version while it ran');
}

/** What the bootstrap prints if the host does not have this version of the agent. */
export const SEND_PROGRAM = 'celeriac: send the program';

/** What is sent then; `first`: the request that was sent before, which the bootstrap has dropped. */
export function programInput(program: Buffer, first: string): Buffer {
  return Buffer.concat([Buffer.from(`${program.length}\n`), program, Buffer.from(first)]);
}

/**
 * The one exec, as in docs/reference/protocol.md: it runs the agent that the last transaction left on
 * the host, if that is this version, or else asks for it. The bootstrap contains no single quote, no
 * `!` and no line break, which some login shells would change.
 *
 * @param isAsked a request is sent along
 */
export function startCommand(build: Sha256, isAsked: boolean, user: string): string {
  const installed = [
    'try:',
    ' with open(p,"rb") as f:',
    '  a=os.fstat(f.fileno())',
    '  h=f.readline()',
    '  t=f.read()',
    // Nobody but this user could have written it, and it is as it was written.
    ` t=a.st_uid==os.geteuid() and a.st_mode&18==0 and b"${build} %08x," % zlib.crc32(t) in h and t`,
    'except (OSError,ValueError):',
    ' t=0',
  ].join('\n');
  const sent = [
    'if t:',
    // All but its last line: the modules, which it decodes if it needs them.
    ' exec(compile(t[:t.rindex(10,0,-1)],p,"exec"),{"TEXT":t})',
    'else:',
    ` print("${SEND_PROGRAM}")`,
    ' import json',
    ' i=sys.stdin.buffer',
    ...(isAsked ? [' i.readline()'] : []),
    ' z=i.read(int(i.readline()))',
    ' s=json.loads(zlib.decompress(z))',
    ` exec(compile(s["${loaderPath}"],"${loaderPath}","exec"),{"SOURCES":s,"PACKED":z,"BUILD":"${build}"})`,
  ].join('\n');
  const bootstrap = [
    'import os,sys,zlib',
    'sys.version_info<(3,8) and sys.exit("celeriac: python "+sys.version.split()[0]+" is too old")',
    `p="${installedProgram}"`,
    `exec(${JSON.stringify(installed)})`,
    `exec(${JSON.stringify(sent)})`,
  ].join(';');
  const sudo = user === 'root' ? '' : 'sudo -n ';
  return `${sudo}python3 -I -S -uc '${bootstrap}'`;
}
