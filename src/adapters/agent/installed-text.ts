import { deflateSync } from 'node:zlib';
import { type HostProgram, loaderPath, sourcesOf } from './agent-start.ts';

/**
 * The agent as a program on the host, as docs/reference/policy.md describes it. The agent writes the
 * same file when it installs itself; only the compression may differ.
 */
export function installedText(program: HostProgram, python: string): string {
  const packed = deflateSync(sourcesOf(program), { level: 9 }).toString('base64');
  return [
    `#!${python} -IS`,
    "# Celeriac's agent in hardened mode. Installed by its owner; docs/reference/policy.md explains it.",
    'import binascii, json, zlib',
    'sources = json.loads(zlib.decompress(binascii.a2b_base64(',
    `b"${packed}"`,
    ')))',
    `exec(compile(sources["${loaderPath}"], "${loaderPath}", "exec"), {"SOURCES": sources, "HARDENED": True})`,
    '',
  ].join('\n');
}
