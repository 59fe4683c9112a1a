import { supportModule } from '../generated/host-program.ts';

/** Source of the module that a Celery worker loads (`host/support/celeriac_support.py`). */
export const supportModuleText = (): string => supportModule;
