import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Message, Sources } from './source-messages.ts';

const root = join(import.meta.dirname, '..', '..');

/** Every error that the actions, the command line and the host program can end with. */
export function allMessages(): Message[] {
  const host = execFileSync('python3', [join(import.meta.dirname, 'host_messages.py')], {
    encoding: 'utf8',
    maxBuffer: 16 * 1024 * 1024,
  });
  return [...sourceMessages(), ...(JSON.parse(host) as Message[])];
}

function sourceMessages(): Message[] {
  const files = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts') && !file.startsWith('generated/'))
    .sort();
  const texts = files.map(
    (file) => [`src/${file}`, readFileSync(join(root, 'src', file), 'utf8')] as const,
  );
  return new Sources(new Map(texts)).messages();
}
