import { runAction } from '../../src/action/run.ts';
import { verifyWorker } from '../../src/use-case/verify-worker.ts';

void runAction('verify', verifyWorker);
