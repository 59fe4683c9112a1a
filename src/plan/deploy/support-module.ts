import type { DeployWorkerDesired } from '../../config/deploy-worker-desired.ts';
import { ConfigError } from '../../model/errors.ts';
import type { FactAnswers } from '../../model/facts.ts';
import type { Operation } from '../../model/operation.ts';
import { unifiedDiff } from '../text-diff.ts';

export function supportPath({ supportDirectory, supportModule }: DeployWorkerDesired): string {
  return `${supportDirectory}/${supportModule.name}.py`;
}

export function planSupport(
  files: FactAnswers['files'],
  desired: DeployWorkerDesired,
): Operation | null {
  const path = supportPath(desired);
  const file = files[path] ?? { kind: 'absent' };
  const { text } = desired.supportModule;
  if (file.kind === 'symlink' || file.kind === 'other') {
    throw new ConfigError('host', `${path} is not a regular file`, 'a regular file, or none');
  }
  const mode = '0644';
  if (file.kind === 'file' && file.text === text && file.mode === mode) return null;
  const before = file.kind === 'file' ? file.text : null;
  return {
    op: 'write-file',
    path,
    text,
    mode,
    expects: file.kind === 'file' ? file.sha256 : null,
    title: `write the support module ${path}`,
    why: file.kind === 'absent' ? 'it is missing' : 'it differs from this version',
    // A new file is Celeriac's own as published; only a change is worth a diff.
    ...(before !== null && { diff: unifiedDiff(path, before, text) }),
  };
}
