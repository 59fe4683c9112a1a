import { createHash } from 'node:crypto';
import { supportFolder } from '../systemd/support-module.ts';

/** Where a host has this text of the support module. */
export function supportDirectoryOf(text: string): string {
  return supportFolder(createHash('sha256').update(text).digest('hex'));
}
