import { hostProgram } from '../generated/host-program.ts';

/** Source of the module that a Celery worker loads (`host/support/celeriac_support.py`). */
export function supportModuleText(): string {
  const text = hostProgram['support/celeriac_support.py'];
  if (text === undefined) {
    throw new Error('this bundle does not contain the support module');
  }
  return text;
}
